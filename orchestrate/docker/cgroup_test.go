package docker

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReadUsage(t *testing.T) {
	const id = "367c53ef9198"
	v1 := map[string]string{
		"cpuacct/docker/" + id + "/cpuacct.usage":        "1500000000\n",
		"cpu/docker/" + id + "/cpuacct.usage":            "1500000000\n", // the same hierarchy by its other name
		"memory/docker/" + id + "/memory.usage_in_bytes": "5000\n",
		"memory/docker/" + id + "/memory.stat":           "inactive_file 7\ntotal_inactive_file 2000\n",
	}
	scope := "system.slice/docker-" + id + ".scope/"
	v2 := map[string]string{
		scope + "cpu.stat":       "usage_usec 1500000\nuser_usec 1\n",
		scope + "memory.current": "5000\n",
		scope + "memory.stat":    "anon 1\ninactive_file 2000\n",
	}
	other := map[string]string{"docker/another/cpu.stat": "usage_usec 1\n"}
	half := map[string]string{"docker/" + id + "/cpu.stat": "usage_usec 1\n"} // the rest has just gone
	for name, tc := range map[string]struct {
		files map[string]string
		ok    bool
	}{"version 1": {v1, true}, "version 2": {v2, true}, "another's": {other, false}, "gone": {half, false}, "none": {nil, false}} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range tc.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want := Usage{}
			if tc.ok {
				want = Usage{CPU: 1500 * time.Millisecond, Memory: 3000}
			}
			if got, ok := readUsage(root, id); ok != tc.ok || ok && got != want {
				t.Errorf("%+v, %v", got, ok)
			}
		})
	}
}
