package bridge

import (
	"errors"
	"net/netip"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/openflow/packet"
)

// Segments is a controller.Segments.
type Segments struct{}

var _ controller.Segments = Segments{}

// errReset says that there is nothing to make, as the segment is a reset.
var errReset = errors.New("a reset is not answered")

// Refuse implements controller.Segments.
func (Segments) Refuse(frame []byte) ([]byte, error) { return respond(frame, packet.BuildReset) }

// Abort implements controller.Segments.
func (Segments) Abort(frame []byte) ([]byte, error) { return respond(frame, packet.BuildAbort) }

func respond(frame []byte, build func(packet.TCPPacket) []byte) ([]byte, error) {
	p, err := packet.ParseTCP(frame)
	if err != nil {
		return nil, err
	}
	answer := build(p)
	if answer == nil {
		return nil, errReset
	}
	return answer, nil
}

// Ends implements controller.Segments.
func (Segments) Ends(frame []byte) (src, dst netip.AddrPort, err error) {
	p, err := packet.ParseTCP(frame)
	return p.Src, p.Dst, err
}

// RefusesSYN implements controller.Segments: the reset that answers a SYN has
// the sequence number 0 and acknowledges (RFC 9293, section 3.10.7.1).
func (Segments) RefusesSYN(frame []byte) bool {
	p, err := packet.ParseTCP(frame)
	return err == nil && p.Flags&(packet.RST|packet.ACK) == packet.RST|packet.ACK && p.Seq == 0
}
