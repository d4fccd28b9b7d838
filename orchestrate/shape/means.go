package shape

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	vishvananda "github.com/vishvananda/netns"
)

// Means is how links get a character.
type Means string

// The means.
const (
	Netem      Means = "netem"      // the kernel
	OwnProcess Means = "own shaper" // Shaper, in a process of ours
)

// Probe finds out what this kernel lets this user do, by trying it in a
// network namespace that is thrown away. The error matches ErrNoMeans when it
// is nothing.
func Probe() (Means, error) {
	var netem, own error
	err := thrownAway(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		attrs := netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_ROOT}
		if netem = netlink.QdiscAdd(netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{Latency: 1})); netem == nil {
			return nil
		}
		c := &capture{end: End{Device: "lo"}, index: lo.Attrs().Index, tap: -1, in: -1, out: -1}
		defer c.close()
		tap, err := c.openTap(1500)
		if err == nil {
			err = c.redirect(tap, markBase)
		}
		own = err
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("probe what gives links a character: %w", err)
	case netem == nil:
		return Netem, nil
	case own == nil:
		return OwnProcess, nil
	}
	return "", fmt.Errorf("%w: netem: %w; its own: %w", ErrNoMeans, netem, own)
}

// thrownAway runs fn in a new network namespace that ends with it.
func thrownAway(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := vishvananda.New()
		if err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		defer ns.Close()
		done <- fn()
	}()
	return <-done
}
