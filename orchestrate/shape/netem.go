package shape

import (
	"errors"
	"fmt"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/topo"
)

// SetNetem gives a link its character by the kernel's netem (tc-netem(8)), at
// the sending end of each direction, in place of one that it had. The zero
// character takes it away; frames that wait are lost then.
func SetNetem(l Link) error {
	if err := l.Check(); err != nil {
		return err
	}
	for _, e := range []End{l.A, l.B} {
		if err := netns.Do(e.NetNS, func() error { return setNetem(e.Device, l.Character) }); err != nil {
			return fmt.Errorf("link %s: %s: %w", l.Name, e, err)
		}
	}
	return nil
}

func setNetem(device string, c topo.Character) error {
	d, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find the device: %w", err)
	}
	qdisc := netemQdisc(d.Attrs().Index, c)
	if c == (topo.Character{}) {
		if err := netlink.QdiscDel(qdisc); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("remove netem: %w", err)
		}
	} else if err := netlink.QdiscReplace(qdisc); err != nil {
		return fmt.Errorf("set netem: %w", err)
	}
	// A frame of the character is one of the cable: not one that the kernel
	// has yet to cut into many.
	return segmentation(device, c == (topo.Character{}))
}

// orderly is a bandwidth without effect that makes netem keep the order of
// frames in spite of jitter: with a rate, it puts each behind the one before
// (netem_enqueue, net/sched/sch_netem.c).
const orderly = 100_000_000_000 // bits per second

// netemQdisc is the qdisc for a character.
func netemQdisc(index int, c topo.Character) *netlink.Netem {
	rate := c.Bandwidth
	if rate == 0 && c.Jitter > 0 {
		rate = orderly
	}
	attrs := netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	return netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{
		Latency: uint32(c.Delay / time.Microsecond), Jitter: uint32(c.Jitter / time.Microsecond),
		Loss: float32(c.Loss * 100), Rate64: rate / 8, Limit: netemLimit(c),
	})
}

// netemLimit is how many frames may wait. netem knows no other bound: it is
// what the bandwidth carries of full frames while one waits as long as the
// delay and a full buffer make it.
func netemLimit(c topo.Character) uint32 {
	if c.Bandwidth == 0 {
		return maxFrames
	}
	held := (c.Delay + c.Jitter + queueTime).Seconds()
	return uint32(min(max(float64(c.Bandwidth)*held/(8*fullFrame), queueFrames), maxFrames))
}

// segmentation lets the kernel hand over many frames in one, as it does
// without a character, or not.
func segmentation(device string, on bool) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	have, err := e.Features(device)
	if err != nil {
		return fmt.Errorf("read offloads of %s: %w", device, err)
	}
	want := map[string]bool{}
	for _, name := range []string{"tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"} {
		if _, known := have[name]; known {
			want[name] = on
		}
	}
	if err := e.Change(device, want); err != nil {
		return fmt.Errorf("set segmentation offload of %s: %w", device, err)
	}
	return nil
}

// netemReport reads the counters of a link from the kernel. What netem loses
// on purpose and what finds no room it counts as one.
func netemReport(l Link) (Report, error) {
	r := Report{Name: l.Name, Character: l.Character}
	for end, into := range map[End]*Counters{l.A: &r.AToB, l.B: &r.BToA} {
		err := netns.Do(end.NetNS, func() error {
			d, err := netlink.LinkByName(end.Device)
			if err != nil {
				return err
			}
			all, err := netlink.QdiscList(d)
			if err != nil {
				return err
			}
			for _, q := range all {
				s := q.Attrs().Statistics
				if _, is := q.(*netlink.Netem); is && s != nil && s.Basic != nil && s.Queue != nil {
					*into = Counters{Frames: uint64(s.Basic.Packets), Bytes: s.Basic.Bytes, Lost: uint64(s.Queue.Drops), UnderWay: int(s.Queue.Qlen)}
				}
			}
			return nil
		})
		if err != nil {
			return r, fmt.Errorf("link %s: read counters of %s: %w", l.Name, end, err)
		}
	}
	return r, nil
}

// NetemReports tells what links with a character by netem have done.
func NetemReports(links []Link) ([]Report, error) {
	all := make([]Report, 0, len(links))
	for _, l := range links {
		r, err := netemReport(l)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
