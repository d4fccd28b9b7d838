package topo

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// generate makes the schema from the structs of a lab file.
func generate() *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true}
	r.Mapper = func(t reflect.Type) *jsonschema.Schema {
		switch t {
		case reflect.TypeFor[text](), reflect.TypeFor[quantity]():
			return &jsonschema.Schema{Type: "string"}
		case reflect.TypeFor[number]():
			return &jsonschema.Schema{Type: "integer"}
		case reflect.TypeFor[decimal]():
			return &jsonschema.Schema{Type: "number"}
		case reflect.TypeFor[truth]():
			return &jsonschema.Schema{Type: "boolean"}
		case reflect.TypeFor[word]():
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
		}
		if !strings.HasPrefix(t.Name(), "mapping[") {
			return nil
		}
		value, _ := t.Elem().FieldByName("Value")
		inner := r.ReflectFromType(value.Type)
		inner.Version = ""
		return &jsonschema.Schema{Type: "object", AdditionalProperties: inner}
	}
	s := r.Reflect(fileLab{})
	s.Title = "meshlab lab file"
	s.Description = "A lab: hosts, switches and links, and the services on them."

	// What a struct tag cannot say.
	names := func(s *jsonschema.Schema, key string, re *regexp.Regexp) *jsonschema.Schema {
		m := s.Properties.Value(key)
		m.PropertyNames = &jsonschema.Schema{Pattern: re.String()}
		return m.AdditionalProperties
	}
	bindPorts := func(s *jsonschema.Schema) {
		p := names(s, "upstreams", dnsLabel)
		p.Minimum, p.Maximum = "1", "65535"
	}
	one := uint64(1)
	s.Properties.Value("nodes").MinProperties = &one
	names(s, "nodes", nodeName)
	service := names(s, "services", dnsLabel)
	image := &jsonschema.Schema{Required: []string{"image"}}
	service.OneOf = []*jsonschema.Schema{{Required: []string{"builtin"}}, image, {Required: []string{"command"}, Not: image}}
	names(service, "environment", variableName)
	names(service, "meta", metaName)
	most := uint64(maxMeta)
	service.Properties.Value("meta").MaxProperties = &most
	bindPorts(service)
	health := service.Properties.Value("healthcheck")
	health.Not = &jsonschema.Schema{Required: []string{"tcp", "http"}}
	bindPorts(s.Properties.Value("client"))
	request := names(s, "requests", dnsLabel)
	names(request, "headers", headerName)
	return s
}

func TestSchemaIsThatOfTheStructs(t *testing.T) {
	got, err := json.MarshalIndent(generate(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile("lab.schema.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, Schema()) {
		t.Error("lab.schema.json is not what the structs of file.go give; run the test with -update")
	}
}

func compiled(t *testing.T) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(labSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("lab.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("lab.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verdict is what the schema says of a file: accepts, refuses or unreadable.
func verdict(t *testing.T, s *validator.Schema, file string) (string, error) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil || v == nil {
		return "unreadable", err
	}
	js, err := json.Marshal(v)
	if err != nil {
		return "unreadable", err
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(js))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		return "refuses", err
	}
	return "accepts", nil
}

func TestSchemaAcceptsGoodLabs(t *testing.T) {
	s := compiled(t)
	for _, pattern := range []string{"../labs/catalogue/*/lab.yaml", "testdata/*.good.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files match %s: %v", pattern, err)
		}
		for _, file := range files {
			if v, err := verdict(t, s, file); v != "accepts" {
				t.Errorf("the schema %s %s: %v", v, file, err)
			}
		}
	}
}

// Each bad file says in its first line what the schema makes of it, so that
// neither the schema nor the parser gets stricter than the other unnoticed.
func TestSchemaOnBadLabs(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	seen := map[string]int{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(src), "\n")
		want := strings.TrimPrefix(line, "# schema: ")
		if !slices.Contains([]string{"accepts", "refuses", "unreadable"}, want) {
			t.Errorf("%s: the first line %q says nothing of the schema", file, line)
			continue
		}
		seen[want]++
		if want == "unreadable" { // how a reader of YAML takes it is its own affair
			continue
		}
		if got, err := verdict(t, s, file); got != want {
			t.Errorf("the schema %s %s, want %s: %v", got, file, want, err)
		}
	}
	if seen["refuses"] < 5 || seen["accepts"] < 5 {
		t.Errorf("too few files of each kind: %v", seen)
	}
}
