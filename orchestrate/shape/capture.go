package shape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// The way of a frame by the shaper. A filter at the egress hook of the device
// (clsact, tc-bpf(8)) redirects each frame to a TAP device. That device has
// none of the offloads, so the kernel hands it frames as they would be on a
// cable: cut to the MTU, with their checksums. A packet socket on it gets a
// copy of each frame with the kernel's time; the device itself drops them all,
// by a filter of its own. A second packet socket, on the first device, sends
// them. What it sends has a mark that the first filter lets pass.
//
// A TAP device ends with the process that holds it, and the kernel drops what
// is redirected to a device that has gone (net/sched/act_mirred.c): without its
// shaper a link is cut, not ideal.

// capture is one direction of a link, tapped.
type capture struct {
	end     End
	index   int // of the device that frames are taken from
	tap     int // file descriptors
	in, out int
}

// marks of frames that have been shaped: each direction has its own, as within
// one network namespace a mark can survive a hop.
const markBase = 0x6d6c0000

// receiveBuffer is what the socket of a direction may hold while the shaper is
// kept from running, in bytes. An ordinary user gets twice net.core.rmem_max.
const receiveBuffer = 16 << 20

// openCapture makes all that one direction needs, and turns no frame over to
// it yet. mark is unique among the directions.
func openCapture(e End, mark uint32) (c *capture, err error) {
	c = &capture{end: e, tap: -1, in: -1, out: -1}
	defer func() {
		if err != nil {
			c.close()
			err = fmt.Errorf("take the frames of %s: %w", e, err)
		}
	}()
	err = netns.Do(e.NetNS, func() error {
		device, err := netlink.LinkByName(e.Device)
		if err != nil {
			return fmt.Errorf("find the device: %w", err)
		}
		c.index = device.Attrs().Index
		tap, err := c.openTap(device.Attrs().MTU)
		if err != nil {
			return err
		}
		if c.in, err = packetSocket(unix.ETH_P_ALL, tap); err != nil {
			return err
		}
		if c.out, err = packetSocket(0, c.index); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(c.out, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return fmt.Errorf("mark frames: %w", err)
		}
		if err := unix.SetsockoptInt(c.in, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return fmt.Errorf("ask for the times of frames: %w", err)
		}
		for _, size := range []struct{ fd, force, plain int }{
			{c.in, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {c.out, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
		} {
			if unix.SetsockoptInt(size.fd, unix.SOL_SOCKET, size.force, receiveBuffer/2) != nil {
				_ = unix.SetsockoptInt(size.fd, unix.SOL_SOCKET, size.plain, receiveBuffer/2) // less is as good as it gets
			}
		}
		return c.redirect(tap, mark)
	})
	return c, err
}

// openTap makes the TAP device and returns its index. The calling thread is in
// the namespace of the device.
func (c *capture) openTap(mtu int) (int, error) {
	var err error
	if c.tap, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq("shape%d") // the kernel fills in a number
	if err != nil {
		return 0, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(c.tap, unix.TUNSETIFF, request); err != nil {
		return 0, fmt.Errorf("make a TAP device: %w", err)
	}
	name := request.Name()
	// ret 0: take nothing of any frame.
	drop := [1]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := unix.SockFprog{Len: 1, Filter: &drop[0]}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.tap), unix.TUNATTACHFILTER, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return 0, fmt.Errorf("set the filter of %s: %w", name, errno)
	}
	// The kernel would send solicitations of IPv6 by it, which would come out
	// at the link.
	if err := netns.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if err := plainVLAN(name); err != nil {
		return 0, err
	}
	tap, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkSetMTU(tap, mtu); err != nil {
		return 0, fmt.Errorf("set MTU of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(tap); err != nil {
		return 0, fmt.Errorf("bring up %s: %w", name, err)
	}
	// The device's own queue would only be another place where frames wait.
	none := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: tap.Attrs().Index, Parent: netlink.HANDLE_ROOT}, QdiscType: "noqueue",
	}
	if err := netlink.QdiscReplace(none); err != nil {
		return 0, fmt.Errorf("take the queue from %s: %w", name, err)
	}
	return tap.Attrs().Index, nil
}

// plainVLAN keeps VLAN tags within frames, where the shaper sees them.
func plainVLAN(device string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Change(device, map[string]bool{"tx-vlan-hw-insert": false, "tx-vlan-stag-hw-insert": false}); err != nil {
		return fmt.Errorf("turn off VLAN offload of %s: %w", device, err)
	}
	return nil
}

// packetSocket opens a socket for whole frames, bound to a device; protocol 0
// receives none (packet(7)).
func packetSocket(protocol uint16, index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open a packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: nl.Swap16(protocol), Ifindex: index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind a packet socket: %w", err)
	}
	return fd, nil
}

// redirect turns the frames of the device over to the TAP device, in place of
// one that was there before.
func (c *capture) redirect(tap int, mark uint32) error {
	attrs := netlink.QdiscAttrs{LinkIndex: c.index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact: %w", err)
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtMark},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: mark, SkipFalse: 1},
		bpf.RetConstant{Val: 0},          // no match: it goes its way
		bpf.RetConstant{Val: ^uint32(0)}, // match: the action below
	})
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	text := make([]byte, 0, 8*len(program))
	for _, i := range program {
		text = binary.NativeEndian.AppendUint16(text, i.Op)
		text = append(text, i.Jt, i.Jf)
		text = binary.NativeEndian.AppendUint32(text, i.K)
	}
	// tc-bpf(8), classic. The library knows programs of the other kind only,
	// which an ordinary user may not load.
	request := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_ACK)
	request.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(c.index), Handle: 1, Parent: netlink.HANDLE_MIN_EGRESS,
		Info: netlink.MakeHandle(1, nl.Swap16(unix.ETH_P_ALL)),
	})
	request.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_OPS_LEN, nl.Uint16Attr(uint16(len(program))))
	options.AddRtAttr(nl.TCA_BPF_OPS, text)
	if err := netlink.EncodeActions(options.AddRtAttr(nl.TCA_BPF_ACT, nil), []netlink.Action{netlink.NewMirredAction(tap)}); err != nil {
		return fmt.Errorf("encode action: %w", err)
	}
	request.AddData(options)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("redirect frames: %w", err)
	}
	return nil
}

// letGo lets the frames of the device pass by themselves again.
func (c *capture) letGo() error {
	return netns.Do(c.end.NetNS, func() error { return removeClsact(c.index) })
}

func removeClsact(index int) error {
	attrs := netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}
	err := netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: attrs})
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove clsact: %w", err)
	}
	return nil
}

// present tells whether the device is still the one that was tapped.
func (c *capture) present() bool {
	same := false
	err := netns.Do(c.end.NetNS, func() error {
		device, err := netlink.LinkByName(c.end.Device)
		same = err == nil && device.Attrs().Index == c.index
		return err
	})
	return err == nil && same
}

func (c *capture) close() {
	for _, fd := range []int{c.in, c.out, c.tap} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
