package pipeline

import (
	"fmt"
	"testing"
)

func TestNumbersAreDistinctThoughCrowded(t *testing.T) {
	var names []string
	for i := range 99 {
		names = append(names, fmt.Sprint(i))
	}
	seen := map[uint32]string{}
	for name, n := range numbers(append(names, "7"), 100) {
		if other, ok := seen[n]; ok || n < 1 || n > 99 {
			t.Errorf("%s has number %d, as %q has; want distinct ones in 1..99", name, n, other)
		}
		seen[n] = name
	}
	if len(seen) != 99 {
		t.Errorf("%d names were numbered, want 99", len(seen))
	}
}

func TestNumbersStay(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("service-%d", i))
	}
	few, many := numbers(names[:2500], serviceLimit), numbers(names, serviceLimit)
	for name, n := range few {
		if many[name] != n {
			t.Errorf("%s was %d and is %d since others came", name, n, many[name])
		}
	}
}
