package standin

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:embed schemas/*.txt
var schemaFiles embed.FS

// attribute is one attribute of a resource or of a block.
type attribute struct {
	Name      string
	Type      string // string, bool, number, list, set, map (all of strings), or objects
	Required  bool
	Optional  bool
	Computed  bool
	New       bool // a change replaces the resource
	Sensitive bool
	Fields    []attribute // of objects
}

// block is a nested block.
type block struct {
	Name     string
	Least    int
	Most     int // 0: any number
	Contents body
}

// body is what a resource or a block holds.
type body struct {
	Attributes []attribute
	Blocks     []block
}

// resourceSchema is one kind of resource.
type resourceSchema struct {
	Type string
	ID   string // a template: {attribute}, {group}, {subscription}, {uuid}
	body
}

// schemasOf returns the resources of a provider, in the order of its file.
func schemasOf(provider string) ([]resourceSchema, error) {
	text, err := schemaFiles.ReadFile("schemas/" + provider + ".txt")
	if err != nil {
		return nil, fmt.Errorf("there is no stand-in for provider %s: %w", provider, err)
	}
	all, err := parseSchemas(string(text))
	if err != nil {
		return nil, fmt.Errorf("schemas of provider %s: %w", provider, err)
	}
	return all, nil
}

// line is one line that is neither empty nor a comment.
type line struct {
	number int
	depth  int // tabs before it
	words  []string
}

func parseSchemas(text string) ([]resourceSchema, error) {
	var lines []line
	for s, n := bufio.NewScanner(strings.NewReader(text)), 1; s.Scan(); n++ {
		content := strings.TrimLeft(s.Text(), "\t")
		if content == "" || strings.HasPrefix(content, "#") {
			continue
		}
		lines = append(lines, line{n, len(s.Text()) - len(content), strings.Fields(content)})
	}
	var all []resourceSchema
	for len(lines) > 0 {
		head := lines[0]
		if head.depth != 0 || len(head.words) != 2 || head.words[0] != "resource" {
			return nil, fmt.Errorf("line %d: want resource TYPE", head.number)
		}
		r := resourceSchema{Type: head.words[1]}
		lines = lines[1:]
		if len(lines) > 0 && len(lines[0].words) == 2 && lines[0].words[0] == "id" {
			r.ID = lines[0].words[1]
			lines = lines[1:]
		} else {
			return nil, fmt.Errorf("line %d: resource %s has no ID", head.number, r.Type)
		}
		var err error
		if r.body, lines, err = parseBody(lines, 1); err != nil {
			return nil, err
		}
		r.Attributes = append(r.Attributes, attribute{Name: "id", Type: "string", Computed: true})
		all = append(all, r)
	}
	return all, nil
}

// parseBody reads lines of that depth, and what they hold; it returns the rest.
func parseBody(lines []line, depth int) (b body, rest []line, err error) {
	for len(lines) > 0 && lines[0].depth >= depth {
		l := lines[0]
		lines = lines[1:]
		switch {
		case l.depth > depth:
			return b, nil, fmt.Errorf("line %d: it is indented too far", l.number)
		case len(l.words) == 3 && l.words[0] == "block":
			var inner block
			if inner, err = parseBlock(l); err == nil {
				inner.Contents, lines, err = parseBody(lines, depth+1)
			}
			b.Blocks = append(b.Blocks, inner)
		default:
			var a attribute
			if a, err = parseAttribute(l); err == nil && a.Type == "objects" {
				var inner body
				inner, lines, err = parseBody(lines, depth+1)
				a.Fields = inner.Attributes
			}
			b.Attributes = append(b.Attributes, a)
		}
		if err != nil {
			return b, nil, err
		}
	}
	return b, lines, nil
}

func parseBlock(l line) (block, error) {
	b := block{Name: l.words[1]}
	var most string
	if _, err := fmt.Sscanf(l.words[2], "%d-%s", &b.Least, &most); err != nil {
		return b, fmt.Errorf("line %d: block %s: want how often as 0-1 or 1-*", l.number, b.Name)
	}
	if most != "*" {
		if _, err := fmt.Sscanf(most, "%d", &b.Most); err != nil {
			return b, fmt.Errorf("line %d: block %s: want how often as 0-1 or 1-*", l.number, b.Name)
		}
	}
	return b, nil
}

func parseAttribute(l line) (attribute, error) {
	if len(l.words) < 3 {
		return attribute{}, fmt.Errorf("line %d: want NAME TYPE FLAGS", l.number)
	}
	a := attribute{Name: l.words[0], Type: l.words[1]}
	if l.words[0] == "objects" {
		a = attribute{Name: l.words[1], Type: "objects"}
	} else if !slices.Contains([]string{"string", "bool", "number", "list", "set", "map"}, a.Type) {
		return a, fmt.Errorf("line %d: attribute %s: unknown type %s", l.number, a.Name, a.Type)
	}
	for _, flag := range l.words[2:] {
		switch flag {
		case "required":
			a.Required = true
		case "optional":
			a.Optional = true
		case "computed":
			a.Computed = true
		case "new":
			a.New = true
		case "sensitive":
			a.Sensitive = true
		default:
			return a, fmt.Errorf("line %d: attribute %s: unknown flag %s", l.number, a.Name, flag)
		}
	}
	if a.Required == (a.Optional || a.Computed) {
		return a, errors.Join(fmt.Errorf("line %d: attribute %s: want required, or optional or computed", l.number, a.Name))
	}
	return a, nil
}
