//go:build integration

package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/topo"
)

// deafSource is Consul, except that the first sidecar of each service, but not
// of the client, only waits: it has missed its certificate, as Consul's own
// does now and then.
const deafSource = `#!/bin/sh
case "$1 $2 $3" in
"connect proxy -sidecar-for=client") ;;
"connect proxy "*)
	if ! [ -e "$TMPDIR/deaf" ]; then
		: >"$TMPDIR/deaf"
		exec sleep 1000
	fi ;;
esac
exec %s "$@"
`

// A sidecar that never opens its public listener is started again, and the lab
// comes up.
func TestDeafSidecar(t *testing.T) {
	dir := programs(t)
	deaf := filepath.Join(dir, "deaf")
	if err := os.WriteFile(deaf, fmt.Appendf(nil, deafSource, filepath.Join(dir, "consul")), 0o755); err != nil {
		t.Fatal(err)
	}
	lab, err := topo.Parse("measured.yaml", []byte(labSource), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("deaf-%d", os.Getpid())
	t.Cleanup(func() {
		if _, err := Remove(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	st, err := Launch(ctx, LaunchConfig{
		Name: name, Lab: lab, File: "measured.yaml", Source: []byte(labSource), Mesh: orchestrate.ConsulConnect,
		Consul: deaf, ConsulVersion: consul.Version, Command: "supervise", Program: filepath.Join(dir, "meshlab"),
	}, func(e Event) {
		if e.Done {
			t.Logf("%-14s %.2f s", e.Step, e.Seconds)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	restarts := map[string]int{}
	for _, p := range st.Processes {
		if strings.HasPrefix(p.Name, "sidecar-") {
			restarts[p.Name] = p.Restarts
		}
	}
	if len(restarts) != 2 || restarts["sidecar-web"] != 1 || restarts["sidecar-client"] != 0 {
		t.Errorf("restarts %v, want one of the deaf sidecar", restarts)
	}
}
