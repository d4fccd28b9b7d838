package topo

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// What is here lets other files of meshlab be read by the rules of lab files:
// one YAML document, every mistake at once with its line, near names for
// unknown keys. ReadYAML fills structs whose fields are of these types; their
// json tags name the keys, and those without omitempty are required. A field
// may also be such a struct, a pointer to one, or a slice of all these.
type (
	YAMLText           = text       // a string
	YAMLNumber         = number     // an integer
	YAMLWord           = word       // a string, or a number or truth value taken as it is written
	YAMLMapping[T any] = mapping[T] // names that the file chooses, in its order
	YAMLStated         = stated     // a field Stated of this type, with the json tag "-": where the struct stands
	YAMLRequest        = fileRequest
)

// YAMLPlace is where a value stands in its file.
type YAMLPlace = place

// YAMLProblems collects what is wrong with a file while it is read.
type YAMLProblems = problems

// ReadYAML reads the one document of src into the struct that into points to.
// When it is a mapping, check then looks at what was read. Any value may be
// missing there: what is wrong with it has been reported. filename and kind,
// as in "scenario", appear in messages only, as does needs, which names the
// keys that such a file must have. The error is a *ParseError with every
// problem.
func ReadYAML(filename string, src []byte, kind, needs string, into any, check func(*YAMLProblems)) error {
	p := &problems{}
	if root := readDocument(p, src, fileKind{kind, needs}); root != nil {
		d := &decoder{problems: p}
		d.decode(root, reflect.ValueOf(into).Elem(), "the "+kind)
		if _, ok := mappingValues(root); ok {
			check(p)
		}
	}
	return p.err(filename)
}

// Stated returns the value, and whether the file states it and it could be
// read.
func (s scalar[T]) Stated() (T, bool) { return s.val, s.set }

// At is where the value stands; the zero place when the file does not state it.
func (s scalar[T]) At() YAMLPlace { return s.place }

// At is where the struct stands; the zero place when the file does not have it.
func (s stated) At() YAMLPlace { return s.place }

// Has reports whether the struct has a key in the file, with a good value or
// not.
func (s stated) Has(key string) bool { return s.keys[key] }

// Addf reports a problem. The zero place is the beginning of the file.
func (p *problems) Addf(at YAMLPlace, format string, args ...any) { p.addf(at, format, args...) }

// Unknown reports a name that is not among the known ones, with the nearest of
// them when one is near. what says of what the name is, as in "key".
func (p *problems) Unknown(at YAMLPlace, what, name string, known []string) {
	p.unknown(at, what, name, known)
}

// Requests checks a section of requests like that of a lab file, but for the
// services: every request may go to any.
func (p *problems) Requests(section YAMLMapping[YAMLRequest]) map[string]Request {
	b := newBuilder(p, Options{})
	client := &fileClient{}
	for _, r := range section {
		client.Upstreams = append(client.Upstreams, pair[number]{Key: r.Value.To})
	}
	if len(section) > maxEntries {
		p.addf(section[maxEntries].Key.place, "%d requests; a file may have at most %d", len(section), maxEntries)
		return b.lab.Requests
	}
	b.requestSection(&fileLab{Requests: section, Client: client})
	return b.lab.Requests
}

// ParseYAML reads the documents of src as a tree, for files that are not read
// by the rules of lab files. Nesting is bounded, and where the YAML library
// panics there is an error; anchors and aliases are left as they are.
func ParseYAML(src []byte) (*ast.File, error) { return parseYAML(src) }
