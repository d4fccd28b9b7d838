package main

import (
	"maps"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// A delay on purpose comes on top of what the scenario asks for itself.
func TestAddDelay(t *testing.T) {
	for name, tc := range map[string]struct{ headers, want map[string]string }{
		"none":         {map[string]string{"A": "1s"}, map[string]string{"A": "1s", service.DelayHeader: "2ms"}},
		"own":          {map[string]string{service.DelayHeader: "20ms"}, map[string]string{service.DelayHeader: "22ms"}},
		"other case":   {map[string]string{"meshlab-delay": "1us"}, map[string]string{service.DelayHeader: "2.001ms"}},
		"not a length": {map[string]string{service.DelayHeader: "long"}, map[string]string{service.DelayHeader: "2ms"}},
	} {
		got := maps.Clone(tc.headers)
		addDelay(got, 2*time.Millisecond)
		if !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
