package topo

import (
	_ "embed"
	"slices"
)

//go:embed lab.schema.json
var labSchema []byte

// Schema returns the JSON Schema (draft 2020-12) of lab files, for editors.
// It holds what can be said of one value at a time; Parse checks more.
func Schema() []byte { return slices.Clone(labSchema) }
