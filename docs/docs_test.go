// Package docs_test holds the documents to the program: the lab files in them
// parse, the verbs and flags that they name exist, their links lead somewhere,
// and no table of the pipeline goes unexplained.
package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/topo"
)

// documents are the Markdown files of the project's top folder, of docs, and of
// the catalogue of labs, by path from here.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../labs/catalogue/*/README.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages of labs: %v", err)
	}
	names = append(append(names, pages...), filepath.Join("..", "README.md"), filepath.Join("..", "labs", "catalogue", "README.md"))
	if len(names) < 6 {
		t.Fatalf("found only %v", names)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// block is a fenced block of a document.
type block struct {
	at       string // file:line of its first line
	language string
	text     string
}

func blocks(name, text string) []block {
	var all []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		switch {
		case open == nil && strings.HasPrefix(line, "```"):
			open = &block{at: fmt.Sprintf("%s:%d", name, i+2), language: strings.TrimPrefix(line, "```")}
		case open != nil && line == "```":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return all
}

func parse(name string, source []byte) error {
	_, err := topo.Parse(name, source, topo.Options{Builtins: builtin.Names()})
	return err
}

func TestExamplesParse(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := parse(name, source); err != nil {
			t.Error(err)
		}
	}
}

// A YAML block that begins with the name of a lab is a whole lab file.
func TestLabFilesInDocumentsParse(t *testing.T) {
	n := 0
	for name, text := range documents(t) {
		for _, b := range blocks(name, text) {
			if b.language != "yaml" || !strings.HasPrefix(b.text, "name: ") {
				continue
			}
			n++
			if err := parse(b.at, []byte(b.text)); err != nil {
				t.Error(err)
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d lab files in the documents; the lab file's page and the one on own services have one each", n)
	}
}

// commandLine is a use of meshlab in a document.
type commandLine struct {
	at    string
	words []string // after "meshlab"
}

var codeSpan = regexp.MustCompile("`([^`\n]+)`")

// usage finds the uses of meshlab: lines of blocks that begin with it, or with
// a prompt and it, and code between backquotes.
func usage(name, text string) []commandLine {
	var all []commandLine
	add := func(at, code string) {
		words := strings.Fields(code)
		for len(words) > 0 && (words[0] == "$" || words[0] == "#" || words[0] == "sudo") {
			words = words[1:]
		}
		if len(words) < 2 || words[0] != "meshlab" && words[0] != "bin/meshlab" {
			return
		}
		all = append(all, commandLine{at, words[1:]})
	}
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		at := fmt.Sprintf("%s:%d", name, i+1)
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced:
			add(at, line)
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				add(at, m[1])
			}
		}
	}
	return all
}

// endsCommand tells words after which nothing belongs to meshlab any more: a
// command in a node, a pipe, a comment.
func endsCommand(word string) bool {
	return slices.Contains([]string{"--", "|", ">", "&&", ";", "#"}, word)
}

func buildMeshlab(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "meshlab")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "meshlab.dev/meshlab/cmd/meshlab").CombinedOutput(); err != nil {
		t.Fatalf("build meshlab: %v\n%s", err, out)
	}
	return bin
}

var flagInHelp = regexp.MustCompile(`(?m)^ +(?:(-[a-z]), )? *(--[a-z-]+)`)

// flagsOf returns the flags of a verb such as "up" or "fault kill", and
// whether there is such a verb.
func flagsOf(t *testing.T, bin, verb string) ([]string, bool) {
	t.Helper()
	args := []string{"--help"}
	if verb != "" {
		args = append(strings.Fields(verb), "--help")
	}
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil || verb != "" && !strings.Contains(string(out), "meshlab "+verb) {
		return nil, false
	}
	var flags []string
	for _, m := range flagInHelp.FindAllStringSubmatch(string(out), -1) {
		flags = append(flags, m[1], m[2])
	}
	return flags, true
}

func TestVerbsAndFlagsExist(t *testing.T) {
	bin := buildMeshlab(t)
	if _, ok := flagsOf(t, bin, "brew"); ok {
		t.Fatal("the test takes a verb for real that is not there")
	}
	if flags, ok := flagsOf(t, bin, "bench"); !ok || !slices.Contains(flags, "--quick") || slices.Contains(flags, "--slow") {
		t.Fatalf("the test does not read the help of bench right: %v", flags)
	}
	uses := 0
	known := map[string][]string{} // flags by verb, so that each is asked once
	for name, text := range documents(t) {
		for _, c := range usage(name, text) {
			uses++
			verb := ""
			if !strings.HasPrefix(c.words[0], "-") {
				verb = c.words[0]
			}
			flags, ok := known[verb]
			if !ok {
				if flags, ok = flagsOf(t, bin, verb); !ok {
					t.Errorf("%s: there is no verb %q", c.at, verb)
					continue
				}
				known[verb] = flags
			}
			if len(c.words) > 1 && !strings.HasPrefix(c.words[1], "-") {
				below := verb + " " + c.words[1] // a verb of a verb, or its argument
				if _, asked := known[below]; !asked {
					known[below], _ = flagsOf(t, bin, below)
				}
				if known[below] != nil {
					verb, flags = below, known[below]
				}
			}
			for _, word := range c.words {
				if endsCommand(word) {
					break
				}
				flag, _, _ := strings.Cut(word, "=")
				if strings.HasPrefix(flag, "-") && !slices.Contains(flags, flag) {
					t.Errorf("%s: meshlab %s has no flag %s: it has %s", c.at, verb, flag, strings.Join(flags, " "))
				}
			}
		}
	}
	if uses < 20 {
		t.Errorf("found only %d uses of meshlab in the documents", uses)
	}
}

var makeUse = regexp.MustCompile("`make ([a-z]+)|(?m)^(?:\\$ )?make ([a-z]+)")

func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	uses := 0
	for name, text := range documents(t) {
		for _, m := range makeUse.FindAllStringSubmatch(text, -1) {
			uses++
			if target := m[1] + m[2]; !strings.Contains(string(makefile), "\n"+target+":") {
				t.Errorf("%s: the Makefile has no target %s", name, target)
			}
		}
	}
	if uses == 0 {
		t.Error("found no use of make in the documents")
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			}
		}
	}
	if links < 10 {
		t.Errorf("found only %d links", links)
	}
}

func TestEveryTableIsExplained(t *testing.T) {
	page, err := os.ReadFile("pipeline.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for n := range 256 {
		name := pipeline.TableName(uint8(n))
		if name == "" {
			continue
		}
		tables++
		if row := fmt.Sprintf("\n| %d %s |", n, name); !strings.Contains(string(page), row) {
			t.Errorf("pipeline.md has no row that begins with %q", strings.TrimSpace(row))
		}
	}
	if tables == 0 {
		t.Error("the pipeline names no table")
	}
}
