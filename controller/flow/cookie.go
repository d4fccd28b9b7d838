package flow

import (
	"crypto/sha256"
	"encoding/binary"
)

// CookieMagic marks the flows of this project in the upper 16 bits of a
// cookie ("ML"); CookieMagicMask selects these bits.
const (
	CookieMagic     uint64 = 0x4d4c << 48
	CookieMagicMask uint64 = 0xffff << 48
	// CookieLearned is that of all flows that a Learn action makes: they come
	// and go with connections, and no program lists them.
	CookieLearned uint64 = 0x4d4d << 48
)

// Seal is the flow with a Cookie made of CookieMagic and 48 bits of a hash
// over everything that the switch gets: table, priority, match, meter, notify
// and actions. Equal cookies mean equal content (two of 10,000 flows collide
// with a chance of 2 in 10 million, two of 180,000 with 6 in 100,000), so a
// controller compares what a switch holds with what it wants by cookie
// alone, without decoding instructions. Seal is idempotent.
func (f Flow) Seal() Flow {
	var buf [512]byte // most flows fit, and then nothing is allocated
	f.Cookie = CookieMagic | hash(appendFlow(buf[:0], f))&^CookieMagicMask
	return f
}

// Hash identifies the group's content: id, type and buckets.
func (g Group) Hash() uint64 {
	var buf [2048]byte
	return hash(appendGroup(buf[:0], g))
}

func hash(content []byte) uint64 {
	sum := sha256.Sum256(content)
	return binary.BigEndian.Uint64(sum[:8])
}
