// Package tap listens to the TCP data that passes network devices, with the
// kernel's time of each packet. What the packets mean, and whose they are, it
// does not know.
package tap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/afpacket"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// Direction is which way packets pass a device, as its own namespace sees it.
type Direction string

// The two directions.
const (
	In  Direction = "in"  // from the device into the namespace
	Out Direction = "out" // out by the device
)

// Port is one direction of a device.
type Port struct {
	NetNS     string // named network namespace; "": that of this process
	Device    string
	Direction Direction
}

func (p Port) String() string {
	if p.NetNS == "" {
		return fmt.Sprintf("%s (%s)", p.Device, p.Direction)
	}
	return fmt.Sprintf("%s in %s (%s)", p.Device, p.NetNS, p.Direction)
}

// Packet is one TCP segment over IPv4 that carries data.
type Packet struct {
	Port     int   // index of Config.Ports
	At       int64 // when it passed, by the kernel's wall clock: nanoseconds since 1970
	Src, Dst netip.AddrPort
	Seq      uint32 // of its first byte
	Payload  int    // bytes of data
}

// Config says what is listened to.
type Config struct {
	Ports      []Port
	MaxPackets int // that are kept; later ones count as dropped
}

// Capture is what passed.
type Capture struct {
	Packets []Packet // of each port in the order they passed; the ports mixed
	Dropped int      // packets that were not kept: no room in a ring, or over MaxPackets
}

// Sizes of the ring that a port has in the kernel: 1 MiB, which some 5,000
// packets fill. It is emptied every interval.
const (
	blockSize = 64 << 10
	blocks    = 16
	interval  = 20 * time.Millisecond
)

// Listen opens a tap for each port, calls ready when all of them are on, and
// collects packets until ctx is done: that is its ordinary end, and no error.
// When it returns, no tap is left. The rings are emptied by the clock and not
// by the packet, so that what is measured meets no wake-ups.
func Listen(ctx context.Context, cfg Config, ready func()) (c Capture, err error) {
	taps := make([]*tap, 0, len(cfg.Ports))
	defer func() {
		for _, t := range taps {
			t.ring.Close()
		}
	}()
	for i, p := range cfg.Ports {
		t, err := open(i, p)
		if err != nil {
			return Capture{}, fmt.Errorf("listen at %s: %w", p, err)
		}
		taps = append(taps, t)
	}
	collect := func() error {
		for i, t := range taps {
			if err := t.read(&c, cfg.MaxPackets); err != nil {
				return fmt.Errorf("read tap at %s: %w", cfg.Ports[i], err)
			}
		}
		return nil
	}
	ready()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if err := collect(); err != nil {
				return Capture{}, err
			}
		}
	}
	// The kernel hands over the block that it still fills when it has done so
	// for an interval.
	for range 3 {
		<-tick.C
	}
	if err := collect(); err != nil {
		return Capture{}, err
	}
	for i, t := range taps {
		_, s, err := t.ring.SocketStats()
		if err != nil {
			return Capture{}, fmt.Errorf("count what the tap at %s dropped: %w", cfg.Ports[i], err)
		}
		c.Dropped += int(s.Drops())
	}
	return c, nil
}

// tap is one port that is listened to. Only one goroutine uses it: its ring
// is memory that Close unmaps.
type tap struct {
	ring    *afpacket.TPacket
	port    int
	since   time.Time // the filter works; what was caught earlier may be anything
	decoder *decoder
}

func open(i int, p Port) (*tap, error) {
	filter, err := filter(p.Direction)
	if err != nil {
		return nil, err
	}
	t := &tap{port: i, decoder: newDecoder()}
	err = netns.Do(p.NetNS, func() (err error) {
		t.ring, err = afpacket.NewTPacket(
			afpacket.OptInterface(p.Device), afpacket.TPacketVersion3, afpacket.SocketRaw,
			afpacket.OptFrameSize(blockSize), afpacket.OptBlockSize(blockSize), afpacket.OptNumBlocks(blocks),
			afpacket.OptBlockTimeout(interval), afpacket.OptPollTimeout(0),
		)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.ring.SetBPF(filter); err != nil {
		t.ring.Close()
		return nil, fmt.Errorf("set filter: %w", err)
	}
	t.since = time.Now()
	return t, nil
}

// read appends all that the kernel has handed over.
func (t *tap) read(c *Capture, most int) error {
	for {
		data, info, err := t.ring.ZeroCopyReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			return nil
		}
		if err != nil {
			return err
		}
		p, ok := t.decoder.decode(data)
		if !ok || info.Timestamp.Before(t.since) {
			continue
		}
		if len(c.Packets) >= most {
			c.Dropped++
			continue
		}
		p.Port, p.At = t.port, info.Timestamp.UnixNano()
		c.Packets = append(c.Packets, p)
	}
}
