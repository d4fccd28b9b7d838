package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"meshlab.dev/meshlab/topo"
)

// Fault is something that is broken on purpose in a running lab, for a while.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Target is what it strikes: of Kill and Pause a process, a service's
	// instance or a node, of Cut and Degrade a link, NODE-NODE.
	Target string     `json:"target,omitempty"`
	Groups [][]string `json:"groups,omitempty"` // of Partition: two lists of switches

	At  time.Duration `json:"at_ns,omitempty"`  // of a trial: when it begins, since the trial's start
	For time.Duration `json:"for_ns,omitempty"` // 0: until it is undone, or the trial has ended

	// What a degraded link does to frames, in each direction. What is 0 stays as
	// it is.
	Delay     time.Duration `json:"delay_ns,omitempty"`
	Jitter    time.Duration `json:"jitter_ns,omitempty"`
	Loss      float64       `json:"loss_ratio,omitempty"`
	Bandwidth uint64        `json:"bandwidth_bits_per_second,omitempty"`
}

// FaultKind is how something is broken.
type FaultKind string

// The kinds of faults.
const (
	Kill      FaultKind = "kill"      // processes end by SIGKILL and stay down
	Pause     FaultKind = "pause"     // processes stand still
	Cut       FaultKind = "cut"       // a link carries nothing
	Degrade   FaultKind = "degrade"   // a link is slow, narrow or loses frames
	Partition FaultKind = "partition" // all links between two groups of switches carry nothing
)

// FaultKinds returns all kinds.
func FaultKinds() []FaultKind { return []FaultKind{Kill, Pause, Cut, Degrade, Partition} }

// MaxFault bounds how long a fault may last.
const MaxFault = 24 * time.Hour

// Validate tells what about a fault makes no sense in any lab.
func (f Fault) Validate() error {
	if f.At < 0 || f.For < 0 || f.For > MaxFault {
		return fmt.Errorf("%s: it begins at %v and lasts %v: want times from 0 on, and %v at most", f, f.At, f.For, MaxFault)
	}
	switch f.Kind {
	case Kill, Pause, Cut:
		if f.Target == "" {
			return fmt.Errorf("%s what? name a target", f.Kind)
		}
	case Degrade:
		switch {
		case f.Target == "":
			return fmt.Errorf("%s what? name a link", f.Kind)
		case f.Delay == 0 && f.Jitter == 0 && f.Loss == 0 && f.Bandwidth == 0:
			return fmt.Errorf("degrade %s: state delay, jitter, loss or bandwidth", f.Target)
		case f.Delay < 0 || f.Jitter < 0 || f.Loss < 0 || f.Loss > 1:
			return fmt.Errorf("degrade %s: delay %v, jitter %v, loss %v: want times from 0 on, and a loss of 0 to 1", f.Target, f.Delay, f.Jitter, f.Loss)
		}
	case Partition:
		return f.validateGroups()
	default:
		return fmt.Errorf("there is no fault %q: want one of %v", f.Kind, FaultKinds())
	}
	return nil
}

func (f Fault) validateGroups() error {
	if len(f.Groups) != 2 || len(f.Groups[0]) == 0 || len(f.Groups[1]) == 0 {
		return errors.New("a partition needs two groups of switches")
	}
	group := map[string]int{}
	for i, names := range f.Groups {
		for _, n := range names {
			if at, ok := group[n]; ok {
				if at == i {
					return fmt.Errorf("partition: switch %s is named twice", n)
				}
				return fmt.Errorf("partition: switch %s is in both groups, and cannot be parted from itself", n)
			}
			group[n] = i
		}
	}
	return nil
}

// Struck names what the fault strikes.
func (f Fault) Struck() string {
	if f.Kind != Partition {
		return f.Target
	}
	parts := make([]string, len(f.Groups))
	for i, g := range f.Groups {
		parts[i] = strings.Join(g, ",")
	}
	return strings.Join(parts, " ")
}

// String is the fault as the arguments of `meshlab fault`.
func (f Fault) String() string {
	s := string(f.Kind) + " " + f.Struck()
	if f.Kind == Degrade {
		s += " " + f.flags()
	}
	return s
}

// Character is what a Degrade sets; what is 0 it leaves as it is.
func (f Fault) Character() topo.Character {
	return topo.Character{Bandwidth: f.Bandwidth, Delay: f.Delay, Jitter: f.Jitter, Loss: f.Loss}
}

// On is what a link of that character is like under a Degrade.
func (f Fault) On(c topo.Character) topo.Character {
	if f.Delay > 0 {
		c.Delay = f.Delay
	}
	if f.Jitter > 0 {
		c.Jitter = f.Jitter
	}
	if f.Loss > 0 {
		c.Loss = f.Loss
	}
	if f.Bandwidth > 0 {
		c.Bandwidth = f.Bandwidth
	}
	return c
}

// flags are the character as flags of `meshlab fault degrade`.
func (f Fault) flags() string {
	var parts []string
	if f.Delay > 0 {
		parts = append(parts, "--delay "+f.Delay.String())
	}
	if f.Jitter > 0 {
		parts = append(parts, "--jitter "+f.Jitter.String())
	}
	if f.Loss > 0 {
		parts = append(parts, "--loss "+topo.FormatLoss(f.Loss))
	}
	if f.Bandwidth > 0 {
		parts = append(parts, "--bandwidth "+topo.FormatBandwidth(f.Bandwidth))
	}
	return strings.Join(parts, " ")
}

// Past tells what the fault did, as a sentence about the past without a full
// stop: "payments was killed".
func (f Fault) Past() string {
	switch f.Kind {
	case Kill:
		return f.Target + " was killed"
	case Pause:
		return f.Target + " was paused"
	case Cut:
		return "link " + f.Target + " was cut"
	case Degrade:
		return fmt.Sprintf("link %s was degraded (%s)", f.Target, f.Character())
	case Partition:
		if len(f.Groups) == 2 {
			return strings.Join(f.Groups[0], ", ") + " and " + strings.Join(f.Groups[1], ", ") + " were parted"
		}
	}
	return f.String()
}

// FaultTimes are when a fault was on, in one lab.
type FaultTimes struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"` // zero: it is on
}
