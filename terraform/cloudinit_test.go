package terraform

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// cloudInit is what cloud-init reads of a machine's data.
// https://cloudinit.readthedocs.io/en/latest/reference/modules.html
type cloudInit struct {
	WriteFiles []struct {
		Path        string
		Permissions string
		Encoding    string
		Content     string
	} `yaml:"write_files"`
	RunCmd [][]string `yaml:"runcmd"`
}

// What the machines get parses: their cloud-init, the scripts and kubeadm's
// files in it. Whether it does what it should, a machine in Azure would show.
func checkCloudInit(t *testing.T, r rig) {
	t.Helper()
	s, err := r.cloud.Load()
	if err != nil {
		t.Fatal(err)
	}
	machines := 0
	for _, res := range s.Resources {
		var v struct {
			CustomData string `json:"custom_data"`
		}
		if err := json.Unmarshal(res.Attributes, &v); err != nil || v.CustomData == "" {
			continue
		}
		machines++
		// Azure takes 64 KiB at most, as base64.
		// https://learn.microsoft.com/azure/virtual-machines/custom-data
		if len(v.CustomData) > 64<<10 {
			t.Errorf("%s: %d bytes of custom data", res.ID, len(v.CustomData))
		}
		text, err := base64.StdEncoding.DecodeString(v.CustomData)
		if err != nil {
			t.Fatalf("%s: %v", res.ID, err)
		}
		var c cloudInit
		if err := yaml.Unmarshal(text, &c); err != nil || !bytes.HasPrefix(text, []byte("#cloud-config\n")) {
			t.Fatalf("%s: %v in\n%s", res.ID, err, text)
		}
		checkMachine(t, res.ID, c)
	}
	if machines != 2 {
		t.Errorf("%d kinds of machines have data, want the control plane and the nodes", machines)
	}
}

func checkMachine(t *testing.T, id string, c cloudInit) {
	t.Helper()
	files := map[string]string{}
	for _, f := range c.WriteFiles {
		files[f.Path] = f.Content
		if f.Path == "/etc/meshlab/agent.yaml" {
			text, err := base64.StdEncoding.DecodeString(f.Content)
			if err != nil || !regexp.MustCompile(`^image: meshlablab[a-z0-9]{5}\.azurecr\.io/meshlab:latest\n$`).Match(text) {
				t.Errorf("%s: the agent's manifest is %q, %v", id, text, err)
			}
		}
		switch {
		case strings.HasPrefix(f.Content, "#!/bin/bash"):
			cmd := exec.Command("bash", "-n")
			cmd.Stdin = strings.NewReader(f.Content)
			if out, err := cmd.CombinedOutput(); err != nil || f.Permissions != "0755" {
				t.Errorf("%s: %s (%s): %v\n%s", id, f.Path, f.Permissions, err, out)
			}
		case strings.HasSuffix(f.Path, ".yaml") && f.Encoding == "":
			for d := yaml.NewDecoder(strings.NewReader(f.Content)); ; {
				var v struct {
					Kind      string
					Timeouts  map[string]string
					Discovery map[string]any
				}
				if err := d.Decode(&v); err != nil {
					break
				}
				// kubeadm only warns of what it does not know.
				// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
				if v.Kind == "JoinConfiguration" && (v.Timeouts["discovery"] != "30m" || len(v.Discovery) != 1 || v.Discovery["bootstrapToken"] == nil) {
					t.Errorf("%s: %s: nodes wait %q for the control plane, discovery is %v", id, f.Path, v.Timeouts["discovery"], v.Discovery)
				}
				if !strings.HasSuffix(v.Kind, "Configuration") {
					t.Errorf("%s: %s holds %q, which kubeadm does not know", id, f.Path, v.Kind)
				}
			}
		}
	}
	if len(c.RunCmd) < 3 || len(files) < 5 {
		t.Fatalf("%s: %d files, %d commands", id, len(files), len(c.RunCmd))
	}
	for _, words := range c.RunCmd {
		for _, w := range words {
			if (strings.HasPrefix(w, "/usr/local/sbin/meshlab") || strings.HasPrefix(w, "/etc/kubernetes/")) && files[w] == "" {
				t.Errorf("%s runs %v, and has no file %s", id, words, w)
			}
		}
	}
}
