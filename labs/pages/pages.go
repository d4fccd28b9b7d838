// Package pages reads the page of a lab: the commands in it, and what it says
// that they print. It compares that with what they do print; who runs them is
// others' business.
//
// A page is Markdown. Its commands stand in blocks with the language console,
// each in a line that begins with "$ ", and goes on in lines that begin with
// "> ". What a command prints, on either output, follows it. There, these
// stand for what is not the same each time:
//
//	...    in a line of its own: any lines, or none; in a line: any text, or none
//	~      one word
//	~900   a count that chance has made: off by at most four times its square
//	       root, the standard deviation of a count (Poisson's), here 780 to 1020
//
// The number of spaces between words does not count, and neither do empty lines
// at the end. In a block with the language "console again", a command that prints
// something else is typed again, for some seconds: a switch, or Consul, has not
// got there yet.
package pages

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Step is a command of a page.
type Step struct {
	Line    int      // where it stands in the page, from 1
	Command string   // for a shell; several lines, if it goes on
	Want    []string // the lines that it prints, with what stands for others
	Again   bool     // whether to type it again when it prints something else
}

// The languages of blocks with commands.
const (
	console      = "```console"
	consoleAgain = "```console again"
	fence        = "```"
)

// Parse returns the commands of a page, in order. A block of them that begins
// with something else than a command, or has no end, is an error.
func Parse(text string) ([]Step, error) {
	var steps []Step
	block, start, first := "", 0, 0 // the block we are in, its line, and its first step
	for i, line := range strings.Split(text, "\n") {
		at := i + 1
		switch {
		case block == "" && strings.HasPrefix(line, fence):
			block, start, first = strings.TrimSpace(line), at, len(steps)
		case block == "" || line != fence && block != console && block != consoleAgain:
		case line == fence:
			if first == len(steps) && block != fence && strings.HasPrefix(block, console) {
				return nil, fmt.Errorf("line %d: a block without a command", start)
			}
			block = ""
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, Step{Line: at, Command: line[2:], Again: block == consoleAgain})
		case first == len(steps):
			return nil, fmt.Errorf("line %d: a block begins with %q instead of a command", at, line)
		default:
			last := &steps[len(steps)-1]
			if rest, ok := strings.CutPrefix(line, "> "); ok && last.Want == nil {
				last.Command += "\n" + rest
				continue
			}
			last.Want = append(last.Want, line)
		}
	}
	if block != "" {
		return nil, fmt.Errorf("line %d: a block without an end", start)
	}
	return steps, nil
}

// Check compares what the command has printed with what the page says. The
// error names the first line of the page that nothing was found for, or the
// first line printed that the page does not have.
func (s Step) Check(printed string) error {
	got := trim(strings.Split(printed, "\n"))
	want := trim(s.Want)
	at, ok := compare(want, got)
	if ok {
		return nil
	}
	what := "it prints more than the page says"
	if at < len(want) {
		what = fmt.Sprintf("nothing printed is %q", want[at])
	}
	return fmt.Errorf("line %d: $ %s\n%s; printed was:\n%s", s.Line, s.Command, what, strings.Join(got, "\n"))
}

// trim removes empty lines at the end.
func trim(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// compare reports whether the lines are as wanted. If not, at is the farthest
// wanted line that could be reached. It takes time in the product of both
// lengths: reach holds how many lines of got the wanted ones up to here may
// have used.
func compare(want, got []string) (at int, ok bool) {
	reach := make([]bool, len(got)+1)
	reach[0] = true
	for i, w := range want {
		next := make([]bool, len(got)+1)
		any := false
		if strings.TrimSpace(w) == "..." {
			for n := range next {
				any = any || reach[n]
				next[n] = any
			}
		} else {
			match := matcher(w)
			for n, line := range got {
				next[n+1] = reach[n] && match(line)
				any = any || next[n+1]
			}
		}
		if !any {
			return i, false
		}
		reach = next
	}
	return len(want), reach[len(got)]
}

var placeholder = regexp.MustCompile(`~[0-9]+|~|\.\.\.`)

// matcher returns what says whether a line is the wanted one.
func matcher(want string) func(string) bool {
	pattern, counts := "^", []float64(nil)
	want = words(want)
	for want != "" {
		found := placeholder.FindStringIndex(want)
		if found == nil {
			found = []int{len(want), len(want)}
		}
		pattern += regexp.QuoteMeta(want[:found[0]])
		switch p := want[found[0]:found[1]]; {
		case p == "...":
			pattern += ".*"
		case p == "~":
			pattern += `\S+`
		case p != "":
			n, _ := strconv.ParseFloat(p[1:], 64) // digits alone
			counts = append(counts, n)
			pattern += `([0-9]+)`
		}
		want = want[found[1]:]
	}
	line := regexp.MustCompile(pattern + "$")
	return func(got string) bool {
		m := line.FindStringSubmatch(words(got))
		if m == nil {
			return false
		}
		for i, n := range counts {
			if v, err := strconv.ParseFloat(m[i+1], 64); err != nil || math.Abs(v-n) > 4*math.Sqrt(n) {
				return false
			}
		}
		return true
	}
}

// words are those of a line, with one space between them.
func words(line string) string { return strings.Join(strings.Fields(line), " ") }
