package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// A run that fails at its end has not measured for nothing.
func TestRescue(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	broken := errors.New("trial 17: no memory")
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	for name, ramps := range map[string][]scenarios.Ramp{
		"nothing was complete": nil,
		"a ramp was": {{Scenario: "web", Lab: "small", Pods: scenarios.SingleNode, Mesh: "ovs",
			Objective: scenarios.Objective{Percentile: 99, Below: time.Second}, Highest: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := &measurement{p: newProgress(quiet), res: &scenarios.Result{
				SchemaVersion: scenarios.SchemaVersion, ID: "20261121T120000Z-00000000", Started: time.Now(), Environment: scenarios.Host(),
				Meshes: []scenarios.MeshInfo{meshInfo("ovs")}, Labs: []scenarios.LabInfo{{Name: "small", Pods: scenarios.SingleNode}}, Ramps: ramps,
			}}
			err := r.rescue(t.Context(), dir, broken)
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			files, _ := os.ReadDir(dir)
			if len(files) != len(ramps) {
				t.Fatalf("files: %v", files)
			}
			if len(ramps) == 0 {
				return
			}
			path := filepath.Join(dir, r.res.ID+".json")
			if res, rerr := scenarios.ReadFile(path); rerr != nil || len(res.Ramps) != 1 || !strings.Contains(err.Error(), "is in "+path) {
				t.Errorf("%v; read back: %v", err, rerr)
			}
		})
	}
}
