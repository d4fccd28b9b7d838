package flow_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/randflow"
)

// TestSealIsTheText holds the cookie against the text, which people can
// judge: the same for flows that print alike, another for all others.
func TestSealIsTheText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	texts, cookies := map[string]uint64{}, map[uint64]string{}
	alike := 0
	for range 20_000 {
		f := randflow.Flow(r)
		for range 2 { // in the order drawn, then in another
			text, cookie := f.String(), f.Seal().Cookie
			if known, ok := texts[text]; ok {
				alike++
				if known != cookie {
					t.Fatalf("two cookies, %#x and %#x, for %s", known, cookie, text)
				}
			}
			if known, ok := cookies[cookie]; ok && known != text {
				t.Fatalf("one cookie, %#x, for\n%s\n%s", cookie, known, text)
			}
			texts[text], cookies[cookie] = cookie, text
			r.Shuffle(len(f.Match), reflect.Swapper(f.Match))
			f.Cookie, f.Reason = 1, "another"
		}
	}
	if len(texts) < 10_000 || alike < 20_000 {
		t.Errorf("%d texts, %d of them seen again: too few to say anything", len(texts), alike)
	}
}

func TestHashIsTheText(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	texts, hashes := map[string]uint64{}, map[uint64]string{}
	alike := 0
	for range 20_000 {
		g := randflow.Group(r)
		text, hash := g.String(), g.Hash()
		if known, ok := texts[text]; ok {
			alike++
			if known != hash {
				t.Fatalf("two hashes, %#x and %#x, for %s", known, hash, text)
			}
		}
		if known, ok := hashes[hash]; ok && known != text {
			t.Fatalf("one hash, %#x, for\n%s\n%s", hash, known, text)
		}
		texts[text], hashes[hash] = hash, text
	}
	if len(texts) < 8_000 || alike < 1_000 {
		t.Errorf("%d texts, %d of them seen again: too few to say anything", len(texts), alike)
	}
}

// TestSealTellsActionsApart has actions that differ in one thing each.
func TestSealTellsActionsApart(t *testing.T) {
	table, other := uint8(1), uint8(2)
	a, b := flow.Reg1.Sub(0, 7), flow.Reg1.Sub(8, 15)
	learn := func(edit func(*flow.Learn)) flow.Learn {
		l := flow.Learn{Table: 1, Priority: 2, IdleTimeout: 3, Match: []flow.LearnMatch{{Dst: a, Src: a}}}
		edit(&l)
		return l
	}
	actions := []flow.Action{
		flow.Output{Port: 1}, flow.Output{Port: 2}, flow.InPort{}, flow.Controller{MaxLen: 1}, flow.Controller{MaxLen: 2},
		flow.OutputReg{From: a}, flow.OutputReg{From: b}, flow.OutputReg{From: flow.Reg1.Sub(0, 8)}, flow.OutputReg{From: flow.Reg2.Sub(0, 7)},
		flow.SetField{Field: flow.Reg1, Value: 1}, flow.SetField{Field: flow.Reg1, Value: 2}, flow.SetField{Field: flow.Reg2, Value: 1},
		flow.Load{Dst: a, Value: 1}, flow.Load{Dst: a, Value: 2}, flow.Load{Dst: b, Value: 1},
		flow.Move{Src: a, Dst: b}, flow.Move{Src: b, Dst: a}, flow.Move{Src: a, Dst: flow.Reg2.Sub(0, 7)},
		flow.Resubmit{Table: 1}, flow.Resubmit{Table: 2}, flow.UseGroup{ID: 1}, flow.UseGroup{ID: 2},
		flow.CT{}, flow.CT{Commit: true}, flow.CT{Zone: 1}, flow.CT{Zone: 2}, flow.CT{Table: new(uint8)}, flow.CT{Table: &table}, flow.CT{Table: &other},
		flow.CT{Commit: true, Exec: []flow.Action{flow.SetField{Field: flow.CTMark, Value: 1}}},
		flow.CT{Commit: true, Exec: []flow.Action{flow.SetField{Field: flow.CTMark, Value: 2}}},
		learn(func(*flow.Learn) {}),
		learn(func(l *flow.Learn) { l.Table = 2 }),
		learn(func(l *flow.Learn) { l.Priority = 3 }),
		learn(func(l *flow.Learn) { l.IdleTimeout = 4 }),
		learn(func(l *flow.Learn) { l.FinIdle = 1 }),
		learn(func(l *flow.Learn) { l.Notify = true }),
		learn(func(l *flow.Learn) { l.Match = nil }),
		learn(func(l *flow.Learn) { l.Match[0].Dst = b }),
		learn(func(l *flow.Learn) { l.Match[0].Src = b }),
		learn(func(l *flow.Learn) { l.Match[0].Src = flow.Range{} }),
		learn(func(l *flow.Learn) { l.Match[0] = flow.LearnMatch{Dst: a, Value: 1} }),
	}
	cookies := map[uint64]string{}
	for _, action := range actions {
		f := flow.Flow{Actions: []flow.Action{action}}.Seal()
		if known, ok := cookies[f.Cookie]; ok {
			t.Errorf("one cookie for %s and %s", known, f)
		}
		cookies[f.Cookie] = f.String()
	}
	if a, b := (flow.Flow{Actions: actions[:2]}), (flow.Flow{Actions: []flow.Action{actions[1], actions[0]}}); a.Seal().Cookie == b.Seal().Cookie {
		t.Error("the order of actions is not in the cookie")
	}
}

// TestSealOfOneOutput is about three actions that are one to a switch.
func TestSealOfOneOutput(t *testing.T) {
	seal := func(a flow.Action) uint64 { return flow.Flow{Actions: []flow.Action{a}}.Seal().Cookie }
	if seal(flow.Output{Port: flow.PortInPort}) != seal(flow.InPort{}) ||
		seal(flow.Output{Port: flow.PortController}) != seal(flow.Controller{}) ||
		seal(flow.Controller{}) == seal(flow.Controller{MaxLen: 1}) {
		t.Error("cookies of outputs do not follow their text")
	}
}

func TestSealAllocatesNothing(t *testing.T) {
	f := serviceFlow(1)
	if n := testing.AllocsPerRun(100, func() { f = f.Seal() }); n != 0 {
		t.Errorf("%v allocations for the cookie of %s", n, f)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := flow.Check(f); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations to check %s", n, f)
	}
}

// serviceFlow is like the larger flows of the mesh.
func serviceFlow(i int) flow.Flow {
	table := uint8(30)
	return flow.Flow{Table: 20, Priority: 100, Notify: true,
		Match: flow.Match{flow.InputPort.Is(uint64(i % 50)), flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP),
			flow.IPv4Src.Is(0xc0a8010b), flow.TCPDst.Is(uint64(i % 60000))},
		Actions: []flow.Action{
			flow.Load{Dst: flow.Reg3.All(), Value: uint64(i)}, flow.Load{Dst: flow.Reg5.All(), Value: uint64(i % 60000)},
			flow.SetField{Field: flow.IPv4Dst, Value: 0xf0000000 + uint64(i)}, flow.SetField{Field: flow.TCPDst, Value: 1},
			flow.CT{Zone: 1, Table: &table}}}
}

func BenchmarkSeal(b *testing.B) {
	f := serviceFlow(1)
	b.ReportAllocs()
	for b.Loop() {
		f = f.Seal()
	}
}

func BenchmarkCheck(b *testing.B) {
	f := serviceFlow(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := flow.Check(f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGroupHash is of a group with 64 slots.
func BenchmarkGroupHash(b *testing.B) {
	g := flow.Group{ID: 1, Type: flow.GroupSelect}
	for i := range 64 {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: 1, Actions: []flow.Action{
			flow.Load{Dst: flow.Reg6.All(), Value: uint64(i)}, flow.Resubmit{Table: 45}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Hash()
	}
}
