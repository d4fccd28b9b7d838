//go:build integration

package meshtest_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// malformed makes frames that h2 may not send, or that nobody can make sense
// of. All but the random ones come under the right addresses of h2, so that
// they get past the identity check.
func malformed(t testing.TB) []func(*rand.Rand) []byte {
	t.Helper()
	own, virtual, other := mac(t, mac2), mac(t, vipMAC), mac(t, mac1)
	eth := func(body []byte) []byte { return frame{virtual, own, etherIPv4, body}.bytes() }
	port := func(r *rand.Rand) uint16 { return uint16(r.UintN(1 << 16)) }
	call := func(r *rand.Rand) []byte { return syn(h2, vip, port(r), 9000, nil) }
	ask := func(r *rand.Rand, payload []byte) []byte { return ipv4(h2, vip, 17, udp(port(r), 53, payload)) }
	set := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	noise := func(r *rand.Rand, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	question := func(name string) []byte {
		m := new(mdns.Msg)
		m.SetQuestion(name, mdns.TypeA)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := question("api.service.consul.")
	return []func(*rand.Rand) []byte{
		func(r *rand.Rand) []byte { return noise(r, 14+r.IntN(1400)) },                                       // random bytes
		func(r *rand.Rand) []byte { return eth(noise(r, r.IntN(200))) },                                      // of h2, to the mesh
		func(r *rand.Rand) []byte { return eth(call(r)[:r.IntN(40)]) },                                       // truncated
		func(r *rand.Rand) []byte { return eth(set(call(r), 0, 0x41)) },                                      // IHL 1
		func(r *rand.Rand) []byte { return eth(set(call(r), 0, 0x4f)) },                                      // IHL 15
		func(r *rand.Rand) []byte { return eth(set(call(r), 32, byte(r.UintN(5)<<4))) },                      // data offset below 5
		func(r *rand.Rand) []byte { return eth(set(call(r), 32, 0xf0)) },                                     // data offset behind the end
		func(r *rand.Rand) []byte { return eth(set(call(r), 33, byte(r.Uint32()))) },                         // any flags
		func(r *rand.Rand) []byte { return eth(set(set(call(r), 2, 0xff), 3, 0xff)) },                        // total length
		func(r *rand.Rand) []byte { return eth(set(call(r), 6, 0x20)) },                                      // first fragment
		func(r *rand.Rand) []byte { return eth(set(call(r), 7, byte(1+r.UintN(255)))) },                      // later fragment
		func(r *rand.Rand) []byte { return eth(set(ask(r, good), 6, 0x20)) },                                 // fragment of a question
		func(r *rand.Rand) []byte { return eth(ask(r, noise(r, r.IntN(600)))) },                              // no DNS
		func(r *rand.Rand) []byte { return eth(ask(r, good[:r.IntN(len(good))])) },                           // half a question
		func(r *rand.Rand) []byte { return eth(ask(r, set(append([]byte{}, good...), 4, 0xff))) },            // 65,281 questions
		func(r *rand.Rand) []byte { return eth(ask(r, set(append([]byte{}, good...), 6, 0xff))) },            // as many answers
		func(r *rand.Rand) []byte { return eth(ask(r, append(append([]byte{}, good[:12]...), 0xc0, 0x0c))) }, // a name that leads to itself
		func(r *rand.Rand) []byte { return eth(ask(r, good)) },                                               // a flood of good ones
		func(r *rand.Rand) []byte { return eth(syn(h2, vip, port(r), port(r)|1<<15, nil)) },                  // nothing is called there
		func(r *rand.Rand) []byte { return eth(call(r)) },                                                    // half-open connections
		func(r *rand.Rand) []byte { return eth(syn(h2, vip, port(r), 53, nil)) },                             // and to the DNS
		func(r *rand.Rand) []byte { // tagged
			return frame{virtual, own, etherVLAN, append(binary.BigEndian.AppendUint16(nil, port(r)), append([]byte{8, 0}, call(r)...)...)}.bytes()
		},
		func(r *rand.Rand) []byte {
			return frame{other, own, etherARP, arp(uint16(r.UintN(10)), own, h2, other, h1, nil)[:r.IntN(28)]}.bytes()
		},
	}
}

// TestMalformedFrames has h2 send as fast as it can, which loses most frames in
// front of the switch, and then as many at a rate that the switch can take. The
// controller keeps its connections, and serves the others meanwhile.
func TestMalformedFrames(t *testing.T) {
	r := newRig(t, withDNS)
	far := r.serve("h3", h3+":8001")
	r.begin(mesh.Snapshot{
		Services:  []*mesh.Service{{Name: "api", Instances: []mesh.Instance{far.Instance}}},
		Upstreams: []mesh.Upstream{calls(t, "web@"+h1+" -> api:9000"), calls(t, "bad@"+h2+" -> api:9000")},
	})
	running := run([]*client{r.mustOpen("h1", 0, apiAt)})
	resolver := r.resolver("h1", "udp")
	punted := func() uint64 {
		in := r.ctl.LoopStats().Datapaths[0].PacketIns
		return in[pipeline.TableName(pipeline.TableDNS)] + in[pipeline.TableName(pipeline.TableRefuse)]
	}
	memory, asBefore := inUse(), punted()
	dials := r.dials.Load()

	const fast, slow, longest = 20_000, 20_000, 30 * time.Second
	const n = fast + slow
	from, kinds, random := r.raw("h2"), malformed(t), rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		i := 0
		for ; i < n && time.Since(start) < longest; i++ {
			if i > fast && i%10 == 0 {
				<-tick.C
			}
			b := kinds[i%len(kinds)](random)
			if len(b) < 14 {
				b = append(b, make([]byte, 14)...)
			}
			_ = from.send(b) // the kernel refuses some of them itself
		}
		sent <- i
	}()
	var total, asked, lost, called int
	for total == 0 {
		select {
		case total = <-sent:
		default:
		}
		asked++
		if _, _, err := resolver.ask("api.service.consul.", mdns.TypeA); err != nil {
			lost++
			t.Logf("%v after the beginning: %v", time.Since(start), err)
		}
		c, err := r.open("h1", 0, apiAt)
		if err == nil {
			err = c.ask()
			called++
			c.Close()
		}
		if err != nil {
			t.Errorf("a call of h1, %v after the beginning: %v", time.Since(start), err)
		}
		if h := r.ctl.Health(); !h.OK {
			t.Errorf("health %v after the beginning: %+v", time.Since(start), h)
		}
	}
	t.Logf("%d frames in %v; meanwhile h1 asked %d times, %d of them in vain, and called %d times",
		total, time.Since(start).Round(time.Millisecond), asked, lost, called)
	if total < n {
		t.Errorf("%d frames were sent in %v, want %d", total, longest, n)
	}
	// A meter for each port: 1,000 a second, and 500 at once (docs/pipeline.md).
	if got, most := float64(punted()-asBefore), 1000*time.Since(start).Seconds()+500+float64(asked); got > 1.1*most {
		t.Errorf("the controller was given %.0f packets, want at most %.0f", got, most)
	} else {
		t.Logf("the controller was given %.0f packets of at most %.0f", got, most)
	}
	if took := r.taken("h2"); took < slow/2 {
		t.Errorf("only %d of these frames came to the tables", took)
	} else {
		t.Logf("%d of these frames came to the tables", took)
	}
	if asked < 3 || lost*20 > asked {
		t.Errorf("of %d questions of h1, %d were not answered, want at most 5 %%", asked, lost)
	}
	if got := r.dials.Load() - dials; got > 0 {
		t.Errorf("the controller lost its switches %d times", got)
	}
	before := running.asked.Load()
	r.until("answers to the running connection", func() bool { return running.asked.Load() > before+5 })
	if err := running.stop()[0]; err != nil {
		t.Errorf("the running connection: %v", err)
	}
	grown := inUse() - memory
	t.Logf("the heap has grown by %d KiB", grown>>10)
	if grown > 32<<20 {
		t.Errorf("the heap has grown by %d MiB, want at most 32", grown>>20)
	}
}

// taken is how many packets of a host have come to the tables.
func (r *rig) taken(host string) (n uint64) {
	r.t.Helper()
	r.ovs.Appctl("revalidator/wait") // the counters of the cache go to the flows
	port := fmt.Sprintf(",in_port=%d,", r.config.Datapaths[0].Access[host])
	for _, f := range r.flows().Datapaths[0].Flows {
		if f.Table == pipeline.TableIdentity && strings.Contains(","+f.Match+",", port) {
			n += f.Packets
		}
	}
	return n
}

// inUse is the size of the heap behind a collection, in bytes.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
