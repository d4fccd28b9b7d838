package scenarios

import (
	"strings"
	"testing"
)

// Each cluster of a group may have plain switching beside its mesh; two with the
// same mesh are no parts of one measurement.
func TestGroupWithFloors(t *testing.T) {
	part := func(id string, meshes ...string) *Result {
		r := &Result{ID: id, Environment: Environment{Group: "lab-1"}}
		for _, m := range meshes {
			r.Cells = append(r.Cells, Cell{Mesh: m})
		}
		return r
	}
	groups, err := Group([]*Result{part("a", "direct", "consul-connect"), part("b", "direct", "ovs")})
	if err != nil || len(groups) != 1 || len(groups[0]) != 2 {
		t.Errorf("%v, %v", groups, err)
	}
	if _, err := Group([]*Result{part("a", "direct", "ovs"), part("b", "ovs")}); err == nil || !strings.Contains(err.Error(), "under ovs") {
		t.Errorf("two of one mesh: %v", err)
	}
}
