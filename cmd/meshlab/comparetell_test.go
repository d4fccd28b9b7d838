package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

// A verdict is told whole, and by its exit code, also when one of its files cannot
// be written.
func TestTellWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	f := compareFlags{markdown: filepath.Join(dir, "none", "comment.md"), junit: filepath.Join(dir, "junit.xml")}
	for verdict, want := range map[scenarios.Verdict]error{
		scenarios.Fail: exitCode(exitRegression), scenarios.Inconclusive: exitCode(exitInconclusive), scenarios.Pass: os.ErrNotExist,
	} {
		t.Run(string(verdict), func(t *testing.T) {
			c, _, err := newRoot().Find([]string{"compare"})
			if err != nil {
				t.Fatal(err)
			}
			var out, errs strings.Builder
			c.SetOut(&out)
			c.SetErr(&errs)
			res := &scenarios.Result{Duets: []scenarios.Duet{{Comparisons: []scenarios.Comparison{{Base: "a", New: "b", Verdict: verdict}}}}}
			err = f.tell(c, res, "results/x.json")
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if got := out.String(); !strings.Contains(got, string(verdict)+": ") || !strings.Contains(got, "Results: results/x.json") {
				t.Errorf("printed: %q", got)
			}
			if said := errs.String() + err.Error(); !strings.Contains(said, "none/comment.md") {
				t.Errorf("nothing tells of the file: %q", said)
			}
			if err := os.Remove(f.junit); err != nil {
				t.Errorf("the other file: %v", err)
			}
		})
	}
}

// That a file cannot be written is told before anything is compared or measured.
func TestCompareRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whatever it does, it brings no lab up
	for _, sides := range [][]string{{"missing.json", "missing.json"}, {"direct", "ovs"}} {
		for _, flag := range []string{"--markdown", "--junit"} {
			root := newRoot()
			root.SetArgs(append([]string{"compare", "--out", dir, flag, filepath.Join(dir, "none", "x")}, sides...))
			var usage usageError
			if err := root.ExecuteContext(ctx); !errors.As(err, &usage) || !strings.Contains(err.Error(), "make the folder first") {
				t.Errorf("%s with %s: got %v", sides, flag, err)
			}
		}
	}
}
