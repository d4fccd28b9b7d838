package scenarios

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// FuzzRead reads hostile documents. What is accepted must be whole: it can be
// written again and decided again.
func FuzzRead(f *testing.F) {
	old, err := os.ReadFile("testdata/result-1.json")
	if err != nil {
		f.Fatal(err)
	}
	paired := pairedResult(f)
	paired.Duets[0].Trials = paired.Duets[0].Trials[:1] // short inputs are tried more often
	paired.Duets[0].Comparisons[0].Metrics = nil
	hostile := pairedResult(f)
	hostile.Duets, hostile.Ramps = hostile.Duets[:1], nil
	hostile.Duets[0].Trials[0].Sides[0].Latency.HDR = wide(f)
	for _, r := range []*Result{paired, hostile} {
		body, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	f.Add(old)
	f.Add([]byte(`{"schema_version":2,"id":"x","duets":[{"lab":"x","method":"abba","trials":[{"steal_ratio":0.1}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Read(bytes.NewReader(body))
		if err != nil {
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
		for _, d := range r.Duets {
			if len(d.Trials) <= 10 && len(d.Variants) <= 3 { // bootstraps take time
				j := judge{variants: d.Variants, rule: d.Rule.complete(d.Method, len(d.Variants)), resamples: 10}
				j.comparisons(d.Trials)
			}
		}
	})
}

// FuzzHistogram decodes hostile histograms as a document would hold them.
func FuzzHistogram(f *testing.F) {
	d := simulatedDistribution(1, 2, 100)
	f.Add(d.HDR, 100, 2.0)
	f.Add(wide(f), 1, 1.0)
	f.Add(d.HDR[:len(d.HDR)-8], -1, 2.0)
	f.Add("", 0, 0.0)
	f.Fuzz(func(t *testing.T, encoded string, count int, most float64) {
		if validateHDR(encoded, count, most) == nil && encoded == "" {
			t.Error("nothing was accepted as a histogram")
		}
	})
}
