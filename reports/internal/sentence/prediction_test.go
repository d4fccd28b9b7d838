package sentence

import (
	"math"
	"strings"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

func TestPrediction(t *testing.T) {
	of := scenarios.Finding{Figure: "avg", Base: "ovs", New: "consul-connect"}
	at := scenarios.Point{Request: "api", Pods: scenarios.MultipleNodes, Connections: 8}
	for _, tt := range []struct {
		name string
		p    scenarios.Prediction
		want string
	}{
		{"much", scenarios.Prediction{Cells: 16, Same: 14, Opposite: 1, Open: 1, Sides: 14, Constant: 15, Favours: 1, Median: 1.3, Largest: 1.94, LargestAt: at, TauB: -0.25, Bounded: 16, Within: 9},
			"The lab, beside the cloud: of Consul Connect and the mesh in the switches, both name the same one as faster in 14 of 16 cells, and different ones in 1; in 1 an interval reaches over 1 and names neither. " +
				"Whoever names the mesh in the switches everywhere is right in 15 of 16 cells. " +
				"The ratios of averages are off by a factor of 1.3 at the median and 1.9 at most (api, several nodes, 8 connections). " +
				"Kendall's rank correlation of the ratios is −0.25 (τ-b; 1: the same order of cells, 0: none in common, −1: the reverse). " +
				"The two are no farther apart than their intervals leave open in 9 of 16 cells."},
		{"one cell", scenarios.Prediction{Cells: 1, Open: 1, Sides: 1, Median: 1.1, Largest: 1.1, TauB: math.NaN()},
			"The lab, beside the cloud: of Consul Connect and the mesh in the switches, both name the same one as faster in no cell; in 1 an interval reaches over 1 and names neither. " +
				"By the ratios themselves, whatever their intervals, it is the same in the one cell. The ratios of averages are off by a factor of 1.10. It is one cell: too few to tell how the next one would come out."},
		{"nothing", scenarios.Prediction{}, ""},
	} {
		if got := strings.Join(Prediction("the lab", "the cloud", of, tt.p), " "); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}
