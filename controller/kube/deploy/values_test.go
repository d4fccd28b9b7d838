package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestParseSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ values, want string }{
		"nothing":        {``, "image is missing"},
		"no address":     {`{image: a}`, "config.vip is missing"},
		"no YAML":        {`{`, "read values"},
		"unknown":        {`{image: a, vip: 10.1.1.254}`, "additional properties 'vip' not allowed"},
		"node":           {`{image: a, config: {vip: 10.1.1.254, node: one}}`, "/config/node': not in this file"},
		"ovsdb":          {`{image: a, config: {vip: 10.1.1.254, ovsdb: "unix:/x"}}`, "/config/ovsdb': not in this file"},
		"no probes":      {`{image: a, config: {vip: 10.1.1.254, metrics: null}}`, "missing property 'metrics'"},
		"loopback":       {`{image: a, config: {vip: 10.1.1.254, metrics: "127.0.0.1:9464"}}`, "/config/metrics"},
		"bridges":        {`{image: a, config: {vip: 10.1.1.254, bridges: [a, b]}}`, "/config/bridges"},
		"quote":          {`{image: 'a"b', config: {vip: 10.1.1.254}}`, "/image"},
		"agent's key":    {`{image: a, config: {vip: 10.1.1.254, dran: 1m}}`, "dran"},
		"agent's rule":   {`{image: a, config: {vip: 10.1.1.254, default_policy: deny}}`, "without Consul's intentions"},
		"status":         {`{image: a, config: {vip: 10.1.1.254, status: /run/x}}`, "/config/status"},
		"no toleration":  {`{image: a, config: {vip: 10.1.1.254}, tolerations: [{effect: [1]}]}`, "tolerations"},
		"no toleration2": {`{image: a, config: {vip: 10.1.1.254}, tolerations: [{effekt: NoSchedule}]}`, "effekt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.values), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

// Lists are replaced, maps merged, and null takes away, as Helm does it.
func TestParseMerges(t *testing.T) {
	v := parse(t, `
image: registry.example/meshlab:1.0
config: {vip: 10.1.1.254, status: null, consul: {address: "10.0.0.4:8500"}}
tolerations: []
resources: {limits: null}
openvswitch: {user: 108}
`)
	if v.OpenVSwitch != (OpenVSwitch{"/run/openvswitch", 108}) || len(v.Tolerations) != 0 || v.Resources.Limits != nil || v.Resources.Requests.Cpu().String() != "50m" {
		t.Errorf("values are %+v", v)
	}
	if _, ok := v.Config["status"]; ok || v.Config["metrics"] != ":9464" {
		t.Errorf("configuration is %v", v.Config)
	}
}

// What a user reads of a value: each has a comment in values.yaml, and a place
// in the schema.
func TestValuesAreExplained(t *testing.T) {
	var s struct{ Properties map[string]any }
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := yaml.Unmarshal(defaults, &v); err != nil {
		t.Fatal(err)
	}
	for name := range v {
		if s.Properties[name] == nil {
			t.Errorf("the schema lacks %s", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(chartFolder, "values.yaml"))
	if err != nil || !strings.Contains(string(text), "# ") {
		t.Errorf("values.yaml: %v", err)
	}
}
