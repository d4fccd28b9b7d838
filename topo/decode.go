package topo

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder turns the nodes of a YAML document into the file structs, and
// collects what does not fit instead of stopping at it.
type decoder struct{ problems *problems }

// nodeDecoder is a value of the file that reads itself from a YAML node.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node, what string)
}

// scalar is one value of the file and the place where it stands.
type scalar[T any] struct {
	place
	set bool // the file states it, and it could be read
	val T
}

// The scalars of a lab file.
type (
	text     = scalar[string]   // a string
	number   = scalar[int64]    // an integer
	decimal  = scalar[float64]  // a number
	truth    = scalar[bool]     // true or false
	word     = scalar[verbatim] // a string, or a number or truth value taken as it is written
	quantity = scalar[measure]  // a string: a number with its unit
)

// verbatim is the text of a scalar as it is written in the file.
type verbatim string

// measure is a number with its unit. One without is read too, for a message
// that asks for the unit.
type measure string

// mapping is a mapping whose keys are names that the file chooses, in the
// order of the file.
type mapping[T any] []pair[T]

// stated is where a struct stands in the file, and which keys it has there,
// readable or not. A struct that wants to know has it as its field Stated.
type stated struct {
	place
	keys map[string]bool // nil: the value is no mapping
}

type pair[T any] struct {
	Key   text
	Value T
}

func placeOf(n ast.Node) place {
	if n == nil {
		return place{}
	}
	return placeOfToken(n.GetToken())
}

func placeOfToken(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// decode reads a node into v, which is a nodeDecoder, a struct, a pointer to
// a struct, or a slice of these. what names the value in messages.
func (d *decoder) decode(n ast.Node, v reflect.Value, what string) {
	if !d.plain(n, what) {
		return
	}
	if nd, ok := v.Addr().Interface().(nodeDecoder); ok {
		nd.decodeNode(d, n, what)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), what)
	case reflect.Struct:
		d.decodeStruct(n, v, what)
	case reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			d.problems.addf(placeOf(n), "%s must be a list", what)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
		for _, item := range seq.Values {
			e := reflect.New(v.Type().Elem()).Elem()
			d.decode(item, e, "an entry of "+what)
			v.Set(reflect.Append(v, e))
		}
	}
}

// plain reports whether a node has a value and uses nothing of YAML that a
// lab file does without.
func (d *decoder) plain(n ast.Node, what string) bool {
	switch n.(type) {
	case nil, *ast.NullNode:
		d.problems.addf(placeOf(n), "%s has no value", what)
		return false
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		d.problems.addf(placeOf(n), "%s: anchors, aliases and merge keys are not supported; write the value out", what)
		return false
	case *ast.TagNode, *ast.DirectiveNode:
		d.problems.addf(placeOf(n), "%s: YAML tags and directives are not supported", what)
		return false
	}
	return true
}

// decodeStruct reads a mapping with fixed keys: the json tags of the fields,
// of which those without omitempty are required.
func (d *decoder) decodeStruct(n ast.Node, v reflect.Value, what string) {
	values, ok := mappingValues(n)
	if !ok {
		d.problems.addf(placeOf(n), "%s must be a mapping", what)
		return
	}
	fields, names := map[string]int{}, []string{}
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "-" {
			fields[name], names = i, append(names, name)
		}
	}
	seen := map[string]bool{}
	if f := v.FieldByName("Stated"); f.IsValid() {
		f.Set(reflect.ValueOf(stated{placeOfMapping(n), seen}))
	}
	for key, value := range d.keys(values, what) {
		i, known := fields[key.val]
		if !known {
			d.problems.unknown(key.place, "key", key.val, names)
			continue
		}
		seen[key.val] = true
		d.decode(value, v.Field(i), key.val)
	}
	for _, name := range names {
		if tag := v.Type().Field(fields[name]).Tag.Get("json"); !seen[name] && tag == name {
			d.problems.addf(placeOfMapping(n), "%s needs the key %q", what, name)
		}
	}
}

// keys yields the keys of a mapping that are good, each once.
func (d *decoder) keys(values []*ast.MappingValueNode, what string) func(yield func(text, ast.Node) bool) {
	return func(yield func(text, ast.Node) bool) {
		first := map[string]place{}
		for _, mv := range values {
			var key text
			switch k := mv.Key.(type) {
			case *ast.StringNode:
				key = text{placeOf(k), true, k.Value}
			case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
				key = text{placeOf(k), true, k.GetToken().Value}
			default:
				d.problems.addf(placeOf(mv), "%s has a key that is not a plain name", what)
				continue
			}
			if at, twice := first[key.val]; twice {
				d.problems.addf(key.place, "%s is stated twice; the first is in line %d", quote(key.val), at.line)
				continue
			}
			first[key.val] = key.place
			if !yield(key, mv.Value) {
				return
			}
		}
	}
}

func mappingValues(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// placeOfMapping is the place of a mapping's first key: the token of a block
// mapping itself is the colon after that key.
func placeOfMapping(n ast.Node) place {
	if values, _ := mappingValues(n); len(values) > 0 {
		return placeOf(values[0].Key)
	}
	return placeOf(n)
}

func (m *mapping[T]) decodeNode(d *decoder, n ast.Node, what string) {
	values, ok := mappingValues(n)
	if !ok {
		d.problems.addf(placeOf(n), "%s must be a mapping", what)
		return
	}
	for key, value := range d.keys(values, what) {
		p := pair[T]{Key: key}
		d.decode(value, reflect.ValueOf(&p.Value).Elem(), quote(key.val))
		*m = append(*m, p)
	}
}

func (s *scalar[T]) decodeNode(d *decoder, n ast.Node, what string) {
	s.place = placeOf(n)
	if err := readScalar(n, any(&s.val)); err != nil {
		d.problems.addf(s.place, "%s must be %v", what, err)
		return
	}
	s.set = true
}

// readScalar reads one scalar; its error names what was wanted.
func readScalar(n ast.Node, into any) error {
	switch into := into.(type) {
	case *string:
		s, ok := stringOf(n)
		if !ok {
			if _, isScalar := n.(ast.ScalarNode); isScalar {
				return fmt.Errorf("text; put %s in quotes", quote(n.GetToken().Value))
			}
			return fmt.Errorf("text")
		}
		*into = s
	case *verbatim:
		if s, ok := stringOf(n); ok {
			*into = verbatim(s)
			return nil
		}
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			*into = verbatim(n.GetToken().Value)
		default:
			return fmt.Errorf("text or a number")
		}
	case *measure:
		var v verbatim
		if err := readScalar(n, &v); err != nil {
			return fmt.Errorf("a number with its unit")
		}
		*into = measure(v)
	case *float64:
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
		default:
			return fmt.Errorf("a number")
		}
		v, err := strconv.ParseFloat(n.GetToken().Value, 64)
		if err != nil {
			return fmt.Errorf("a number in decimal")
		}
		*into = v
	case *int64:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			return fmt.Errorf("an integer")
		}
		v, err := strconv.ParseInt(i.GetToken().Value, 10, 64)
		if err != nil {
			return fmt.Errorf("an integer in decimal")
		}
		*into = v
	case *bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return fmt.Errorf("true or false")
		}
		*into = b.Value
	}
	return nil
}

func stringOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value != nil {
			return n.Value.Value, true
		}
	}
	return "", false
}
