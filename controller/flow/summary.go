package flow

import (
	"fmt"
	"strings"
)

// Summary is String with equal buckets counted instead of repeated, in the
// order of their first occurrence.
func (g Group) Summary() string {
	count, order := map[string]int{}, []string(nil)
	for _, b := range g.Buckets {
		text := fmt.Sprintf("bucket(weight %d)=%s", b.Weight, joinActions(b.Actions))
		if count[text]++; count[text] == 1 {
			order = append(order, text)
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "group_id=%d,type=%s", g.ID, g.Type)
	for _, text := range order {
		fmt.Fprintf(&s, ",%d x %s", count[text], text)
	}
	return s.String()
}
