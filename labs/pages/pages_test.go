package pages_test

import (
	"reflect"
	"strings"
	"testing"

	"meshlab.dev/meshlab/labs/pages"
)

const text = "# A lab\n" +
	"```yaml\n$ no command\n```\n" +
	"```console\n$ meshlab up x\n...\nLab x is up.\n$ cat <<E\n> one\n> E\none\n\ntwo\n```\n" +
	"words\n" +
	"```console again\n$ ask\n~ 7\n```\n"

func TestParse(t *testing.T) {
	got, err := pages.Parse(text)
	want := []pages.Step{
		{Line: 6, Command: "meshlab up x", Want: []string{"...", "Lab x is up."}},
		{Line: 9, Command: "cat <<E\none\nE", Want: []string{"one", "", "two"}},
		{Line: 18, Command: "ask", Want: []string{"~ 7"}, Again: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestParseOfBadPages(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no command":     {"```console\n```\n", "line 1: a block without a command"},
		"output first":   {"a\n```console\nhello\n$ x\n```\n", `line 3: a block begins with "hello"`},
		"no end":         {"```console\n$ x\n", "line 1: a block without an end"},
		"no end of YAML": {"\n```yaml\nx\n", "line 2: a block without an end"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pages.Parse(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

// A page whose expected output is wrong is found out.
func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		want, got string
		fails     string // part of the error; "" when all is right
	}{
		"the same":                   {"a\nb", "a\nb\n", ""},
		"nothing":                    {"", "\n", ""},
		"other spaces":               {"a  b", " a b \n\n", ""},
		"another word":               {"a\nb", "a\nc\n", `line 3: $ x` + "\n" + `nothing printed is "b"; printed was:` + "\na\nc"},
		"a line less":                {"a\nb", "a\n", `nothing printed is "b"`},
		"a line more":                {"a", "a\nb\n", "more than the page says"},
		"something for nothing":      {"", "a\n", "more than the page says"},
		"any lines":                  {"...\nb\n...\nd", "a\nb\nd\n", ""},
		"any lines twice":            {"...\nb\n...\nb", "b\nc\nb\n", ""},
		"any lines, none of them":    {"a\n...", "a\n", ""},
		"any lines, but a wrong one": {"...\nb\n...", "a\nc\n", `nothing printed is "b"`},
		"any lines, the wrong order": {"...\nb\n...\na\n...", "a\nb\n", `nothing printed is "a"`},
		"any text":                   {"took ... and went", "took 1.3 s and went", ""},
		"any text, none":             {"ready...", "ready", ""},
		"any text, wrong end":        {"took ... and went", "took 1.3 s and came", "nothing printed"},
		"a word":                     {"after ~ s.", "after 1.3 s.", ""},
		"a word, not two":            {"after ~ s.", "after 1 3 s.", "nothing printed"},
		"a word, not none":           {"after ~ s.", "after s.", "nothing printed"},
		"a count":                    {"~900 v1\n~100 v2", " 916 v1\n  84 v2", ""},
		"a count at its edge":        {"~100 v2", "140 v2", ""},
		"a count beyond it":          {"~100 v2", "141 v2", "nothing printed"},
		"a count below it":           {"~100 v2", "59 v2", "nothing printed"},
		"a count that is none":       {"~100 v2", "x v2", "nothing printed"},
		"signs of expressions":       {"a.b (c) [d] * + ? $", "a.b (c) [d] * + ? $", ""},
		"signs of expressions, not":  {"a.b", "axb", "nothing printed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := pages.Step{Line: 3, Command: "x", Want: strings.Split(tc.want, "\n")}
			err := s.Check(tc.got)
			if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%v, want %q", err, tc.fails)
			}
		})
	}
}
