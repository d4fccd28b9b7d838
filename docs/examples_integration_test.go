//go:build integration

package docs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestOwnServicesUnderEveryMesh brings the example with a user's own programs
// up under each mesh. `up` itself checks an answer of the whole chain; the test
// checks where the gateway was sent for its upstream.
func TestOwnServicesUnderEveryMesh(t *testing.T) {
	bin := buildMeshlab(t)
	for mesh, upstream := range map[string]string{
		"direct":         "site at 10.20.0.11:8000",
		"ovs":            "site at 10.20.0.250:9000",
		"consul-connect": "site at 127.0.0.1:9000",
	} {
		t.Run(mesh, func(t *testing.T) {
			name := fmt.Sprintf("docs-%d-%s", os.Getpid(), mesh)
			t.Cleanup(func() { meshlab(t, bin, "down", name) })
			meshlab(t, bin, "up", "examples/own-services.yaml", "--mesh", mesh, "--name", name, "--no-publish")
			var status struct {
				Services []struct {
					Name, Health string
					Upstreams    []string
				}
			}
			if err := json.Unmarshal(meshlab(t, bin, "ps", "--lab", name, "--output", "json"), &status); err != nil {
				t.Fatal(err)
			}
			if len(status.Services) != 3 {
				t.Fatalf("services: %+v", status.Services)
			}
			for _, s := range status.Services {
				if s.Health != "passing" {
					t.Errorf("%s is %s", s.Name, s.Health)
				}
				if s.Name == "gateway" && strings.Join(s.Upstreams, ", ") != upstream {
					t.Errorf("the gateway calls %v, want %s", s.Upstreams, upstream)
				}
			}
		})
	}
}

func meshlab(t *testing.T, bin string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("meshlab %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}
