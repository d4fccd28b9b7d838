package sandbox

import (
	"strings"
	"testing"
)

// Outside a sandbox, Init would put file systems over the machine's own.
func TestInitOutside(t *testing.T) {
	if _, err := Init(nil, 0); err == nil || !strings.Contains(err.Error(), "not the first process") {
		t.Errorf("init of a process that is not in a sandbox: %v", err)
	}
}
