package figures

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// againsts are the figures of two environments in the gallery.
func againsts() map[string]func() (*Figure, error) {
	axes := Axes{"namespaces on one machine, 2 cores", "the thesis' clusters in Azure, 2022"}
	set := func(name string, look Look, hollow bool, factor float64) AgainstSet {
		s := AgainstSet{Name: name, Look: look, Hollow: hollow}
		for i, label := range []string{"1", "8", "100", "200"} {
			x := factor * (1.2 + float64(i)/3)
			s.Points = append(s.Points, AgainstPoint{label, Ratio{x, x / 1.3, x * 1.3}, Ratio{Value: x * math.Exp(0.3*math.Sin(7*x))}})
		}
		return s
	}
	return map[string]func() (*Figure, error){
		"against": func() (*Figure, error) {
			return Against("Consul Connect ÷ mesh in the switches", axes, []AgainstSet{
				set("frontend, single node", Blue, false, 1), set("frontend, several nodes", Blue, true, 1.2),
				set("api, single node", Vermillion, false, 1.9), set("api, several nodes", Vermillion, true, 0.8)})
		},
		"against-one": func() (*Figure, error) {
			return Against("one cell", axes, []AgainstSet{{Name: "api", Points: []AgainstPoint{{"1", Ratio{Value: 1}, Ratio{1, 0.001, 4000}}}}, {Name: "none"}})
		},
		"against-many": func() (*Figure, error) {
			var sets []AgainstSet
			for i := range 40 {
				sets = append(sets, set(long, Look(i%7), i%2 == 0, 0.01*math.Pow(1.4, float64(i))))
			}
			return Against(long, Axes{long, long}, sets)
		},
	}
}

func TestAgainstRefuses(t *testing.T) {
	if _, err := Against("x", Axes{}, []AgainstSet{{Name: "empty"}}); !errors.Is(err, ErrNothing) {
		t.Errorf("of nothing: %v", err)
	}
	for _, bad := range []Ratio{{}, {Value: -1}, {1, 0, 2}, {Value: math.NaN()}, {1, 1, math.Inf(1)}} {
		_, err := Against("x", Axes{}, []AgainstSet{{Name: "api", Points: []AgainstPoint{{"1", Ratio{Value: 1}, bad}}}})
		if err == nil || !strings.Contains(err.Error(), "api: ratio") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
