package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	verbList   = regexp.MustCompile(`(?s)\n(?:Labs|Available Commands):\n(.*?)\n(?:Flags|Additional help topics):`)
	verbInList = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)
)

// helpOf returns the flags of a verb ("": the program) and the verbs below it, as
// "fault kill".
func helpOf(t *testing.T, bin, verb string) (flags, verbs []string) {
	t.Helper()
	out, err := exec.Command(bin, append(strings.Fields(verb), "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("help of %q: %v\n%s", verb, err, out)
	}
	for _, m := range flagInHelp.FindAllStringSubmatch(string(out), -1) {
		flags = append(flags, m[2])
	}
	list := verbList.FindStringSubmatch(string(out))
	if list == nil {
		return flags, nil
	}
	for _, m := range verbInList.FindAllStringSubmatch(list[1], -1) {
		if m[1] != "help" && m[1] != "completion" {
			verbs = append(verbs, strings.TrimSpace(verb+" "+m[1]))
		}
	}
	return flags, verbs
}

// Each verb is in the README, and each flag in some page: what nobody tells of,
// nobody finds.
func TestVerbsAndFlagsAreTold(t *testing.T) {
	bin := buildMeshlab(t)
	pages := documents(t)
	readme := pages[filepath.Join("..", "README.md")]
	told := func(flag string) bool {
		for _, text := range pages {
			if strings.Contains(text, flag) {
				return true
			}
		}
		return false
	}
	_, verbs := helpOf(t, bin, "")
	if len(verbs) < 20 {
		t.Fatalf("the test reads %v off the help", verbs)
	}
	for i := 0; i < len(verbs); i++ {
		verb := verbs[i]
		flags, below := helpOf(t, bin, verb)
		verbs = append(verbs, below...)
		if !strings.Contains(verb, " ") && !strings.Contains(readme, "| `meshlab "+verb) {
			t.Errorf("README.md has no row for meshlab %s", verb)
		}
		for _, flag := range flags {
			if flag != "--help" && !told(flag) {
				t.Errorf("no page tells of %s of meshlab %s", flag, verb)
			}
		}
	}
}

// anchors are those that GitHub makes of the headings of a page: letters,
// digits, - and _ of a heading in lower case, with - for spaces.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		heading := strings.TrimLeft(line, "#")
		if fenced || heading == line {
			continue
		}
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))] = true
	}
	return all
}

var anchored = regexp.MustCompile(`\]\(([^)#\s]*)#([^)\s]+)\)`)

func TestAnchorsAreThere(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		for _, m := range anchored.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			page := text
			if m[1] != "" {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(name), m[1]))
				if err != nil {
					continue // TestLinksLeadSomewhere
				}
				page = string(b)
			}
			if !anchors(page)[m[2]] {
				t.Errorf("%s: there is no heading for #%s in %s", name, m[2], m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d anchors", found)
	}
}
