//go:build integration

package main

import (
	"path/filepath"
	"testing"
)

// The Kathará lab of the thesis comes to life, and has the coffees.
func TestImportedLab(t *testing.T) {
	source, err := filepath.Abs(katharaLab)
	if err != nil {
		t.Fatal(err)
	}
	p := root(t)
	p.ok(t, "import", source, "--out", "shop.yaml")
	l := p.up(t, "imported", "shop.yaml", "--no-publish")
	l.nineCoffees(t, "h1", "http://localhost:20863/api")
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
}
