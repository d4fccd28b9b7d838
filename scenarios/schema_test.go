package scenarios

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	generator "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite result.schema.json from the types")

func TestResultSchemaIsCurrent(t *testing.T) {
	r := generator.Reflector{Anonymous: true}
	// The version is a constant of the document, so the schema says it.
	s := r.Reflect(&Result{})
	s.ID = "https://meshlab.dev/schema/result-2.json"
	s.Title = "Result document of meshlab bench"
	version, _ := s.Definitions["Result"].Properties.Get("schema_version")
	version.Const = SchemaVersion
	for property, enum := range map[string][]any{
		"Cell.pods": {SingleNode, MultipleNodes}, "Duet.pods": {SingleNode, MultipleNodes},
		"Ramp.pods": {SingleNode, MultipleNodes}, "Waterfall.pods": {SingleNode, MultipleNodes},
		"Duet.method": {Alive, ABBA, Across}, "OpenLoad.arrivals": {Constant, Poisson},
		"Comparison.verdict": {Pass, Fail, Inconclusive}, "MetricDecision.verdict": {Pass, Fail, Inconclusive},
		"Flag.kind":  {FlagSteal, FlagLate, FlagUnsteady, FlagErrors, FlagOverload},
		"Fault.kind": {Kill, Pause, Cut, Degrade, Partition},
		"Span.kind":  {SpanClient, SpanSwitch, SpanProxy, SpanService},
		"Ramp.end":   {EndObjective, EndGenerator, EndMaximum},
		"Node.role":  {RoleWorker, RoleControlPlane},
	} {
		name, key, _ := strings.Cut(property, ".")
		p, ok := s.Definitions[name].Properties.Get(key)
		if !ok {
			t.Fatalf("there is no property %s", property)
		}
		p.Enum = enum
	}
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("result.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(ResultSchema(), want) {
		t.Error("result.schema.json does not match the types: run go test ./scenarios -run Schema -update")
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(ResultSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("result.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("result.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestResultSchemaValidates(t *testing.T) {
	s := compileSchema(t)
	from := func(r *Result, change func(map[string]any)) any {
		fillLists(reflect.ValueOf(r).Elem())
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(v.(map[string]any))
		}
		return v
	}
	for name, r := range map[string]*Result{"cells": sampleResult(t), "duets": pairedResult(t)} {
		if err := s.Validate(from(r, nil)); err != nil {
			t.Errorf("a written document of %s does not match the schema: %v", name, err)
		}
	}
	duet := func(m map[string]any) map[string]any { return m["duets"].([]any)[0].(map[string]any) }
	for name, change := range map[string]func(map[string]any){
		"another version": func(m map[string]any) { m["schema_version"] = json.Number("99") },
		"no cells":        func(m map[string]any) { delete(m, "cells") },
		"unknown key":     func(m map[string]any) { m["celsl"] = 1 },
		"time no time":    func(m map[string]any) { m["started"] = "yesterday" },
		"pods":            func(m map[string]any) { m["cells"].([]any)[0].(map[string]any)["pods"] = "many" },
	} {
		if s.Validate(from(sampleResult(t), change)) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
	for name, change := range map[string]func(map[string]any){
		"method":   func(m map[string]any) { duet(m)["method"] = "guess" },
		"arrivals": func(m map[string]any) { duet(m)["load"].(map[string]any)["arrivals"] = "bursts" },
		"verdict":  func(m map[string]any) { duet(m)["comparisons"].([]any)[0].(map[string]any)["verdict"] = "GOOD" },
		"trials":   func(m map[string]any) { duet(m)["trials"] = nil },
	} {
		if s.Validate(from(pairedResult(t), change)) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}
