package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	generator "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"meshlab.dev/meshlab/topo"
)

func TestBuiltinScenarios(t *testing.T) {
	all := BuiltinScenarios()
	if len(all) != 6 {
		t.Fatalf("%d built-in scenarios", len(all))
	}
	for i, s := range all {
		if name := builtinNames()[i]; s.Name != name || s.Description == "" {
			t.Errorf("%s.yaml has the name %q and the description %q", name, s.Name, s.Description)
		}
		if s.Model == ClosedLoop {
			c := s.Closed
			c.Meshes, c.Pods, c.Requests = []string{"ovs"}, []Pods{SingleNode}, []string{"api"}
			if err := c.Validate(); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
}

// What the thesis measured is not to change by an edit of a file.
func TestThesisScenario(t *testing.T) {
	want := Config{
		Connections: []int{1, 8, 100, 200},
		Count:       1000,
		Repeats:     4,
		WarmUp:      400,
		Timeout:     15 * time.Second,
		Limit:       2 * time.Minute,
	}
	if got := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.Connections, want.Count, want.Repeats, want.WarmUp = []int{1, 8}, 200, 2, 100
	if got := Quick(); !reflect.DeepEqual(got, want) {
		t.Errorf("quick: got %+v, want %+v", got, want)
	}
}

func TestOpenScenarioIsTheDefault(t *testing.T) {
	s, err := ParseScenario("x.yaml", []byte("name: x\nopen: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := builtinScenario("open").Open; s.Open != want || s.Model != OpenLoop {
		t.Errorf("without keys %+v, open.yaml says %+v", s.Open, want)
	}
}

// A request of a lab file and one of a scenario file travel alike.
func TestProtocolsAreThoseOfLabFiles(t *testing.T) {
	var lab []Protocol
	for _, p := range topo.Protocols() {
		lab = append(lab, Protocol(p))
	}
	if !slices.Equal(lab, Protocols()) {
		t.Errorf("lab files have %v, load is sent over %v", lab, Protocols())
	}
}

func readTestdata(t *testing.T, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestEveryScenarioKey(t *testing.T) {
	open, err := ParseScenario("open.good.yaml", readTestdata(t, "open.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Scenario{
		Name: "every-key", Description: "Every key of an open loop.", Model: OpenLoop,
		Open: OpenLoad{Arrivals: Constant, Rate: 12.5, Connections: 4, Requests: 600}, Looks: []int{4, 8},
		Steps: []ScenarioStep{
			{Name: "frontend", Request: "frontend", Weight: 3},
			{Name: "order", Weight: 1, To: "public-api", RequestSpec: RequestSpec{
				Protocol: HTTP1Close, URL: "/api?x=1", Method: "POST", Headers: map[string]string{"X-Number": "7"}, Body: "body",
				Status: 201, Contains: []string{"a", "b"}, Matches: `^a\d+b$`,
			}},
			{Name: "echo", Weight: 1, To: "udp-echo", RequestSpec: RequestSpec{
				Protocol: UDPEcho, Headers: map[string]string{}, Body: "hello",
			}},
		},
		Faults: []Fault{
			{Kind: Partition, Groups: [][]string{{"s1", "s2"}, {"s3"}}, For: time.Minute},
			{Kind: Pause, Target: "h1", At: 1500 * time.Millisecond},
			{Kind: Kill, Target: "payments", At: 2 * time.Second, For: time.Second},
			{Kind: Cut, Target: "h1-s1", At: 3 * time.Second, For: 500 * time.Millisecond},
			{Kind: Degrade, Target: "h1-s1", At: 4 * time.Second, Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.05, Bandwidth: 1e6},
		},
		Objective: &Objective{Percentile: 99.5, Below: 20 * time.Millisecond, Errors: 0.001},
	}
	if !reflect.DeepEqual(open, want) {
		t.Errorf("got  %+v\nwant %+v", open, want)
	}

	closed, err := ParseScenario("closed.good.yaml", readTestdata(t, "closed.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want = &Scenario{
		Name: "closed", Model: ClosedLoop,
		Closed: Config{
			Requests: []string{"api", "own"}, Connections: []int{2, 4}, Count: 10, Repeats: 2, WarmUp: 0,
			Timeout: time.Second, Limit: time.Minute,
		},
		Steps: []ScenarioStep{
			{Name: "api", Request: "api", Weight: 1},
			{Name: "own", Weight: 1, To: "web", RequestSpec: RequestSpec{
				Protocol: HTTP1, URL: "/", Method: "GET", Headers: map[string]string{}, Status: 200,
			}},
		},
	}
	if !reflect.DeepEqual(closed, want) {
		t.Errorf("got  %+v\nwant %+v", closed, want)
	}
}

// Each bad file has all its problems in a .txt beside it. Its first line says
// what the schema makes of it, so that neither gets stricter unnoticed.
func TestBadScenarios(t *testing.T) {
	schema := compiledScenarioSchema(t)
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("bad files: %v, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		src := readTestdata(t, name)
		s, err := ParseScenario(name, src)
		var pe *topo.ParseError
		if s != nil || !errors.As(err, &pe) {
			t.Errorf("%s: got %v, %v; want a *topo.ParseError", name, s, err)
			continue
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := readTestdata(t, filepath.Base(golden)); err.Error()+"\n" != string(want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, want)
		}
		first, _, _ := strings.Cut(string(src), "\n")
		got := "accepts"
		if err := validateYAML(t, schema, src); err != nil {
			got = "refuses"
		}
		if want := "# schema: " + got; first != want {
			t.Errorf("%s: the first line is %q, want %q", name, first, want)
		}
	}
}

func FuzzParseScenario(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "builtin/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := ParseScenario("fuzz.yaml", src)
		var pe *topo.ParseError
		if (s == nil) == (err == nil) || err != nil && (!errors.As(err, &pe) || len(pe.Problems) == 0) {
			t.Fatalf("ParseScenario = %v, %v", s, err)
		}
		if s == nil {
			return
		}
		switch s.Model {
		case ClosedLoop:
			c := s.Closed
			c.Meshes, c.Pods = []string{"ovs"}, []Pods{SingleNode}
			if len(s.Steps) == 0 {
				c.Requests = []string{"api"}
			}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		case OpenLoop:
			if o := s.Open; o.Connections < 1 || o.Requests < 1 || o.Rate != 0 && !(o.Rate >= 0.1 && o.Rate <= MaxRate) {
				t.Errorf("load %+v", o)
			}
			if o := s.Objective; o != nil && o.Validate() != nil {
				t.Error(o.Validate())
			}
		default:
			t.Errorf("model %q", s.Model)
		}
		if _, err := s.Requests(
			func(string) (RequestSpec, error) { return RequestSpec{}, nil },
			func(string) (string, error) { return "10.0.0.1:80", nil },
		); err != nil {
			t.Error(err)
		}
	})
}

func TestLookupScenario(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := "name: mine\nopen: {}\n"
	mine := write("mine.yaml", good)
	s, src, err := LookupScenario(mine)
	if err != nil || s.Name != "mine" || string(src) != good {
		t.Errorf("got %+v, %q, %v", s, src, err)
	}
	if s, src, err := LookupScenario("browse"); err != nil || s.Name != "browse" || !bytes.Contains(src, []byte("one-coffee")) {
		t.Errorf("got %+v, %q, %v", s, src, err)
	}
	for _, row := range []struct {
		name, want string
		unknown    bool
	}{
		{"brwose", `did you mean "browse"?`, true},
		{"nothing-like-it", "one of browse, constant, open, quick, survive, thesis", true},
		{"../builtin/browse", "unknown scenario", true},
		{write("bad.yaml", "name: bad\nopn: {}\n"), `bad.yaml:2:1: unknown key "opn"; did you mean "open"?`, false},
		{write("large.yaml", strings.Repeat("#", 3<<20)), "may have at most", false},
		{dir, dir + " is a folder; name a scenario file", false},
	} {
		_, _, err := LookupScenario(row.name)
		if err == nil || !strings.Contains(err.Error(), row.want) || errors.Is(err, ErrUnknownScenario) != row.unknown {
			t.Errorf("LookupScenario(%q) = %v, want %q", row.name, err, row.want)
		}
	}
}

func TestScenarioRequests(t *testing.T) {
	lookup := func(name string) (RequestSpec, error) {
		if name != "frontend" && name != "api" {
			return RequestSpec{}, errors.New("the lab has no such request")
		}
		return RequestSpec{URL: "http://10.0.0.9:1/" + name, Status: 200}, nil
	}
	to := func(service string) (string, error) {
		if service != "public-api" {
			return "", errors.New("the client has no such upstream")
		}
		return "10.0.0.9:2", nil
	}
	browse := builtinScenario("browse")
	got, err := browse.Requests(lookup, to)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got[0].URL != "http://10.0.0.9:1/frontend" || got[0].Weight != 12 {
		t.Errorf("first step %+v", got[0])
	}
	if last := got[2]; last.URL != "http://10.0.0.9:2/api" || last.Weight != 1 || last.Method != "POST" || last.Contains[0] != "HCP Aeropress" {
		t.Errorf("last step %+v", last)
	}
	if browse.Steps[2].URL != "/api" {
		t.Errorf("the scenario itself has changed: %+v", browse.Steps[2])
	}

	if steps, err := builtinScenario("open").Requests(lookup, to); err != nil || len(steps) != 0 {
		t.Errorf("without steps: got %+v, %v", steps, err)
	}
	for name, change := range map[string]func(*ScenarioStep){
		"request frnotend: the lab has no such request":     func(s *ScenarioStep) { s.Name, s.Request = "frnotend", "frnotend" },
		"request frontend: the client has no such upstream": func(s *ScenarioStep) { s.Request, s.To = "", "payments" },
	} {
		s := builtinScenario("browse")
		change(&s.Steps[0])
		if _, err := s.Requests(lookup, to); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// scenarioSchemaOfTypes makes the schema from the structs of a scenario file.
// Requests are those of a lab file.
func scenarioSchemaOfTypes(t *testing.T) []byte {
	t.Helper()
	var lab struct {
		Properties struct {
			Requests *generator.Schema `json:"requests"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(topo.Schema(), &lab); err != nil {
		t.Fatal(err)
	}
	r := &generator.Reflector{Anonymous: true, DoNotReference: true}
	r.Mapper = func(t reflect.Type) *generator.Schema {
		switch t {
		case reflect.TypeFor[topo.YAMLText]():
			return &generator.Schema{Type: "string"}
		case reflect.TypeFor[topo.YAMLNumber]():
			return &generator.Schema{Type: "integer"}
		case reflect.TypeFor[topo.YAMLWord](): // all words of scenario files are numbers
			return &generator.Schema{Type: "number"}
		case reflect.TypeFor[topo.YAMLMapping[topo.YAMLRequest]]():
			copied := *lab.Properties.Requests
			return &copied
		}
		return nil
	}
	s := r.Reflect(fileScenario{})
	s.ID = "https://meshlab.dev/schema/scenario-1.json"
	s.Title = "meshlab scenario file"
	s.Description = "A scenario: how load is sent, and of which requests it is."
	s.OneOf = []*generator.Schema{{Required: []string{"open"}}, {Required: []string{"closed"}}}

	// What a struct tag cannot say.
	rate := s.Properties.Value("open").Properties.Value("rate")
	rate.Type = ""
	rate.AnyOf = []*generator.Schema{{Const: automatic}, {Type: "number", Minimum: "0.1", Maximum: "100000"}}
	connections := s.Properties.Value("closed").Properties.Value("connections").Items
	connections.Minimum, connections.Maximum = "1", "10000"
	objective := s.Properties.Value("objective").Properties
	percentile, share := objective.Value("percentile"), objective.Value("errors")
	percentile.Minimum, percentile.Maximum = "1", "99.9"
	share.Minimum, share.Maximum = "0", "0.5"

	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestScenarioSchemaIsCurrent(t *testing.T) {
	want := scenarioSchemaOfTypes(t)
	if *update {
		if err := os.WriteFile("scenario.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(ScenarioSchema(), want) {
		t.Error("scenario.schema.json does not match the types: run go test ./scenarios -run Schema -update")
	}
}

func compiledScenarioSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(ScenarioSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scenario.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validateYAML(t *testing.T, s *jsonschema.Schema, src []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestScenarioSchemaAcceptsGoodFiles(t *testing.T) {
	s := compiledScenarioSchema(t)
	n := 0
	for _, pattern := range []string{"testdata/*.good.yaml", "builtin/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			n++
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := validateYAML(t, s, src); err != nil {
				t.Errorf("the schema refuses %s: %v", file, err)
			}
		}
	}
	if n < 7 {
		t.Errorf("only %d files", n)
	}
}
