//go:build integration

package terraform

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A node is prepared though the package mirror fails twice: nobody looks at it,
// and nothing begins anew. The script is real, with an /etc of its own; the
// programs that it calls are not.
func TestPrepareNode(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"apt-get":    "case \"$*\" in *update*) echo try >>" + dir + "/tries; [ \"$(wc -l <" + dir + "/tries)\" -gt 2 ];; *) echo \"$*\" >>" + dir + "/installed;; esac",
		"curl":       "while [ \"$1\" != -o ]; do shift; done; echo key >\"$2\"",
		"containerd": "echo '  SystemdCgroup = false'",
		"ovs-vsctl":  "echo \"$*\" >" + dir + "/bridge",
		"modprobe":   "", "sysctl": "", "swapoff": "", "apt-mark": "", "systemctl": "", "sleep": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := filepath.Abs("modules/ovs-cluster/prepare-node.sh")
	if err != nil {
		t.Fatal(err)
	}
	const in = `mount -t tmpfs none /etc && mkdir -p /etc/modules-load.d /etc/sysctl.d /etc/apt/sources.list.d && bash "$0" && cat /etc/containerd/config.toml /etc/apt/sources.list.d/*`
	cmd := exec.Command("unshare", "--mount", "bash", "-c", in, script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBERNETES=1.35")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SystemdCgroup = true") || !strings.Contains(string(out), "/v1.35/deb/ /") {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, want := range map[string]string{"installed": "kubeadm", "bridge": "add-br br1"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q, %v; want %s", file, text, err, want)
		}
	}
}
