// Package shape gives links a character: bandwidth, delay, jitter and loss of
// frames, in each direction, while frames pass and without replacing a device.
//
// Where the kernel has netem it does the work (Netem). Where it has not, a
// process of our own does (Shaper): a filter at the sending end of a link hands
// each frame to it, and it sends the frame out of the same device when its time
// has come. Which frames those are, and what a lab is, the package does not
// know: it is given pairs of devices.
package shape

import (
	"errors"
	"fmt"

	"meshlab.dev/meshlab/topo"
)

// End is one end of a link: a device that frames are sent by.
type End struct {
	NetNS  string `json:"netns,omitempty"` // named network namespace; "": that of this process
	Device string `json:"device"`
}

func (e End) String() string {
	if e.NetNS == "" {
		return e.Device
	}
	return e.Device + " in " + e.NetNS
}

// Link is a link with a character. What A sends, B receives, and the other
// way round.
type Link struct {
	Name      string         `json:"name"` // unique, for messages
	A         End            `json:"a"`
	B         End            `json:"b"`
	Character topo.Character `json:"character"`
}

// Check refuses what no link can be.
func (l Link) Check() error {
	if l.Name == "" || l.A.Device == "" || l.B.Device == "" {
		return fmt.Errorf("link %q: it needs a name and a device at both ends", l.Name)
	}
	if err := CheckCharacter(l.Character); err != nil {
		return fmt.Errorf("link %s: %w", l.Name, err)
	}
	return nil
}

// CheckCharacter refuses a character that no link can have, however it was
// made: what a lab file says has passed the same bounds.
func CheckCharacter(c topo.Character) error {
	switch {
	case c.Bandwidth != 0 && (c.Bandwidth < topo.MinBandwidth || c.Bandwidth > topo.MaxBandwidth):
		return fmt.Errorf("bandwidth of %d bit/s: it is from %s to %s", c.Bandwidth, topo.FormatBandwidth(topo.MinBandwidth), topo.FormatBandwidth(topo.MaxBandwidth))
	case c.Delay < 0 || c.Delay > topo.MaxDelay:
		return fmt.Errorf("delay of %v: it is from 0s to %v", c.Delay, topo.MaxDelay)
	case c.Jitter < 0:
		return fmt.Errorf("jitter of %v: it cannot be negative", c.Jitter)
	case !(c.Loss >= 0 && c.Loss <= 1):
		return fmt.Errorf("loss of %v: it is a probability, from 0 to 1", c.Loss)
	}
	return c.Check()
}

// ErrNoMeans says that this kernel can give links no character.
var ErrNoMeans = errors.New("this kernel can give links no delay, loss or bandwidth: it has neither netem (remedy: sudo modprobe sch_netem) nor what meshlab needs to do it itself (remedy: sudo modprobe -a tun sch_ingress cls_bpf act_mirred)")
