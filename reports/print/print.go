// Package print typesets reports for paper: a PDF made here, and LaTeX source
// for a thesis. What it says, its tables and its figures are those of package
// reports; it measures and decides nothing.
package print

import (
	"fmt"
	"time"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
)

// Options are what the results themselves do not say.
type Options struct {
	Title  string // "" for the default
	Author string // "" for none
}

// paper is all that is typeset.
type paper struct {
	title, author string
	date          time.Time         // of the last run: the same results give the same bytes on any day
	together      []reports.Chapter // of results of several environments
	runs          []reports.Run
}

// newPaper arranges results. It returns an error when there is none or one
// contradicts itself.
func newPaper(results []*scenarios.Result, opt Options) (*paper, error) {
	runs, err := reports.Runs(results)
	if err != nil {
		return nil, err
	}
	together, err := reports.Together(results)
	if err != nil {
		return nil, err
	}
	p := &paper{title: opt.Title, author: opt.Author, together: together, runs: runs}
	if p.title == "" {
		p.title = reports.DefaultTitle(results)
	}
	for _, r := range results {
		for _, t := range []time.Time{r.Started, r.Finished} {
			if t.UTC().After(p.date) {
				p.date = t.UTC().Truncate(time.Second)
			}
		}
	}
	return p, nil
}

// about tells of a run in a sentence.
func about(r reports.Run) string {
	e := r.Result.Environment
	text := fmt.Sprintf("Measured on %s: %s, with meshlab %s. Run %s.", r.When, e.Place(), or(e.Meshlab, "of unknown version"), r.ID)
	if e.CPU != "" {
		machine := "Machine"
		if e.Cluster != nil {
			machine = "Node of the load generator"
		}
		text += fmt.Sprintf(" %s: %s, %d cores, %s, %s.", machine, e.CPU, e.Cores, or(e.OS, "unknown system"), or(e.Kernel, "unknown kernel"))
	}
	return text
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// sources says what of the method is whose, with the numbers of references.
const sources = "The comparison of a mesh in programmable switches with Consul Connect goes back to [1]. Of the statistics of paired trials, the estimate is that of Hodges and Lehmann [2], the interval is Efron's accelerated bootstrap [3], the test Wilcoxon's for signed ranks [4], and the correction for several metrics and comparisons Holm's [5]. That latency has to be counted from the intended start of a request, lest the stalls of a system hide themselves (coordinated omission), is Tene's point [6]; that what varies most has to be repeated, here the labs, that of Kalibera and Jones [7]. Where environments are set beside each other, the order of their ratios is compared by Kendall's rank correlation with ties [8], and single ratios by their prediction intervals, after Patil, Peng and Leek [9]."

// references are the works that sources numbers.
func references() []string {
	return []string{
		"A. Kraus. Applicability of programmable network devices in service mesh architectures. AGH, Kraków, 2022. Table 4.",
		"J. L. Hodges, Jr., and E. L. Lehmann. Estimates of location based on rank tests. The Annals of Mathematical Statistics 34 (2), 1963, pp. 598–611.",
		"B. Efron. Better bootstrap confidence intervals. Journal of the American Statistical Association 82 (397), 1987, pp. 171–185.",
		"F. Wilcoxon. Individual comparisons by ranking methods. Biometrics Bulletin 1 (6), 1945, pp. 80–83.",
		"S. Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6 (2), 1979, pp. 65–70.",
		"G. Tene. How not to measure latency. Talk, Strange Loop, 2015.",
		"T. Kalibera and R. Jones. Rigorous benchmarking in reasonable time. International Symposium on Memory Management (ISMM), 2013, pp. 63–74.",
		"M. G. Kendall. The treatment of ties in ranking problems. Biometrika 33 (3), 1945, pp. 239–251.",
		"P. Patil, R. D. Peng and J. T. Leek. What should researchers expect when they replicate studies? A statistical view of replicability in psychological science. Perspectives on Psychological Science 11 (4), 2016, pp. 539–544.",
	}
}
