package sample

import (
	"encoding/json"
	"slices"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

func TestResultIsValidAndTheSame(t *testing.T) {
	for name, options := range map[string][]Option{
		"all":           nil,
		"small":         {Small},
		"uncalibrated":  {Small, Uncalibrated},
		"only duets":    {Small, OnlyDuets},
		"only cells":    {Small, OnlyCells},
		"only errors":   {Small, OnlyErrors},
		"one mesh":      {Small, OneMesh},
		"nothing":       {Nothing},
		"one mesh, bad": {Small, OneMesh, OnlyErrors},
		"broken":        {Small, OnlyDuets, Broken},
		"duets, bad":    {Small, OnlyDuets, OnlyErrors, Uncalibrated},
	} {
		t.Run(name, func(t *testing.T) {
			r := Result(options...)
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			a, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := json.Marshal(Result(options...)); string(a) != string(b) {
				t.Error("two documents of the same options differ")
			}
			t.Logf("%d bytes", len(a))
		})
	}
}

func TestResultHasEveryVerdict(t *testing.T) {
	r := Result()
	var verdicts []scenarios.Verdict
	for _, d := range r.Duets {
		for _, c := range d.Comparisons {
			verdicts = append(verdicts, c.Verdict)
			for _, m := range c.Metrics {
				t.Logf("%s %s: %s/%s %s %.3f (%.3f-%.3f) p %.4f %s", d.Request, d.Pods, c.New, c.Base, m.Metric, m.Ratio, m.Low, m.High, m.PValue, m.Verdict)
				if !(m.Low <= m.Ratio && m.Ratio <= m.High && m.High <= m.Bound) {
					t.Errorf("%s of %s: interval %v to %v, bound %v around %v", m.Metric, c.New, m.Low, m.High, m.Bound, m.Ratio)
				}
			}
		}
	}
	for _, v := range []scenarios.Verdict{scenarios.Pass, scenarios.Fail, scenarios.Inconclusive} {
		if !slices.Contains(verdicts, v) {
			t.Errorf("no comparison ends in %s", v)
		}
	}
}
