package randflow

import (
	"math/rand/v2"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
)

func TestAllPassCheck(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		if err := flow.Check(Flow(r)); err != nil {
			t.Fatal(err)
		}
		if err := flow.CheckGroup(Group(r)); err != nil {
			t.Fatal(err)
		}
	}
}
