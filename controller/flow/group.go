package flow

import (
	"errors"
	"fmt"
)

// MaxGroupID is the last group id in use by flows (OpenFlow 1.3.5, section
// 7.3.4.2, OFPG_MAX).
const MaxGroupID uint32 = 0xffffff00

// CheckGroup does for a group what Check does for a flow. The prerequisites
// of bucket actions are not checked: they depend on the flows that use the
// group.
func CheckGroup(g Group) error {
	var errs []error
	if g.ID > MaxGroupID {
		errs = append(errs, fmt.Errorf("id is above %#x", MaxGroupID))
	}
	if g.Type != GroupAll && g.Type != GroupSelect {
		errs = append(errs, fmt.Errorf("unknown type %d", g.Type))
	}
	var weights int
	for i, b := range g.Buckets {
		weights += int(b.Weight)
		for _, err := range checkActions(b.Actions, scope{}) {
			errs = append(errs, fmt.Errorf("bucket %d: %w", i+1, err))
		}
	}
	if g.Type == GroupSelect && len(g.Buckets) > 0 && weights == 0 {
		errs = append(errs, errors.New("no bucket has a weight, so none would ever be chosen"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check group %d: %w", g.ID, err)
	}
	return nil
}
