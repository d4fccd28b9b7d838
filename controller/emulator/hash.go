package emulator

import (
	"math/bits"

	"meshlab.dev/meshlab/controller/flow"
)

// The hash functions of Open vSwitch: MurmurHash3 (mhash_add and
// mhash_finish, lib/hash.h). A build of Open vSwitch for SSE 4.2 uses CRC32
// instead; Debian's does not.

func mhashAdd(hash, data uint32) uint32 {
	data *= 0xcc9e2d51
	data = bits.RotateLeft32(data, 15)
	data *= 0x1b873593
	hash ^= data
	return bits.RotateLeft32(hash, 13)*5 + 0xe6546b64
}

func mhashFinish(hash, final uint32) uint32 {
	hash ^= final
	hash ^= hash >> 16
	hash *= 0x85ebca6b
	hash ^= hash >> 13
	hash *= 0xc2b2ae35
	return hash ^ hash>>16
}

// dpHash is what a select group of Open vSwitch 3.1 goes by in the userspace
// datapath: the same for both directions of a connection, and computed from
// the packet as the flows have changed it by then (flow_hash_symmetric_l3l4,
// lib/flow.c, without UDP ports and with basis 0, on the action
// hash(sym_l4(0))). Numbers lie in memory with their lowest byte first, and
// header fields are read as they lie there.
func dpHash(p Packet) uint32 {
	if p[flow.EthType] != flow.EthTypeIPv4 {
		return 0
	}
	h := mhashAdd(0, bits.ReverseBytes32(uint32(p[flow.IPv4Src]^p[flow.IPv4Dst])))
	h = mhashAdd(h, uint32(p[flow.IPProto]))
	if p[flow.IPProto] == flow.IPProtoTCP {
		h = mhashAdd(h, uint32(bits.ReverseBytes16(uint16(p[flow.TCPSrc]^p[flow.TCPDst]))))
	}
	return mhashFinish(h, 0)
}

// maxSelectHashes is MAX_SELECT_GROUP_HASH_VALUES (ofproto/ofproto-dpif.c):
// groups that need more hash values are not chosen from by dp_hash.
const maxSelectHashes = 256

// slots maps the low bits of a hash to a bucket's index as
// group_setup_dp_hash_table does (ofproto/ofproto-dpif.c): a power of two of
// slots, 16 and up, given out by the method of Webster. It is nil when no
// bucket has a weight.
func slots(g flow.Group) []int {
	total, least := 0, 0
	for _, b := range g.Buckets {
		w := int(b.Weight)
		total += w
		if w > 0 && (least == 0 || w < least) {
			least = w
		}
	}
	if total == 0 {
		return nil
	}
	n := 16
	for n*least < total && n < maxSelectHashes {
		n *= 2
	}
	divisor := make([]int, len(g.Buckets))
	value := make([]float64, len(g.Buckets))
	for i, b := range g.Buckets {
		divisor[i], value[i] = 1, float64(b.Weight)
	}
	out := make([]int, n)
	for s := range out {
		winner := 0
		for i := range value {
			if value[i] > value[winner] {
				winner = i
			}
		}
		divisor[winner] += 2
		value[winner] = float64(g.Buckets[winner].Weight) / float64(divisor[winner])
		out[s] = winner
	}
	return out
}

// selectBucket is the index of the bucket that a packet whose hash is given
// takes, and the hash's slot.
func selectBucket(g flow.Group, hash uint32) (bucket, slot int, ok bool) {
	all := slots(g)
	if all == nil {
		return 0, 0, false
	}
	slot = int(hash) & (len(all) - 1)
	return all[slot], slot, true
}
