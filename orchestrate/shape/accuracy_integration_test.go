//go:build integration

package shape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/topo"
)

// shapeVar makes this program a shaper with its files in that folder.
const shapeVar = "MESHLAB_TEST_SHAPE"

func TestMain(m *testing.M) {
	dir := os.Getenv(shapeVar)
	if dir == "" {
		os.Exit(m.Run())
	}
	err := Run(context.Background(), Config{Plan: filepath.Join(dir, "plan"), Socket: filepath.Join(dir, "socket"), Logger: slog.Default()})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// bench is a link with a shaper in a process of its own, as in a lab.
type bench struct {
	*testing.B
	rig
	client  *Client
	process *os.Process
}

// BenchmarkAccuracy measures how near links come to the character that they
// are given, and prints tables. It takes some four minutes.
func BenchmarkAccuracy(t *testing.B) {
	b := &bench{B: t, rig: newRig(t)}
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stderr = append(os.Environ(), shapeVar+"="+dir), os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // the death signal is tied to the thread
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b.process, b.client = cmd.Process, NewClient(filepath.Join(dir, "socket"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := b.client.Reports(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d processors, load %s\n\n", runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "))
	b.delays()
	b.jitters()
	b.losses()
	b.bandwidths()
}

// be gives the link a character.
func (b *bench) be(c topo.Character) {
	b.Helper()
	if err := b.client.Apply(b.Context(), []Link{b.link(c)}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) report() Counters {
	b.Helper()
	all, err := b.client.Reports(b.Context())
	if err != nil || len(all) != 1 {
		b.Fatal(all, err)
	}
	return all[0].AToB
}

func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e3, 'f', 0, 64) + " µs"
}

func (b *bench) delays() {
	const n = 500
	b.be(topo.Character{})
	ideal, idealTrip := b.oneWay(b, n, 2*time.Millisecond), b.roundTrips(b, n)
	base, baseTrip := quantile(ideal, 0.5), quantile(idealTrip, 0.5)
	fmt.Println("| Delay | One way, p50 | p99 | Round trip, p50 | p99 | Late, p50 | p99 |")
	fmt.Println("|---|---|---|---|---|---|---|")
	fmt.Printf("| none: the ideal link | %s | %s | %s | %s | - | - |\n", micros(base), micros(quantile(ideal, 0.99)), micros(baseTrip), micros(quantile(idealTrip, 0.99)))
	for _, d := range []time.Duration{100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		b.be(topo.Character{}) // counters begin anew
		b.be(topo.Character{Delay: d})
		way := b.oneWay(b, n, 2*time.Millisecond)
		trip := b.roundTrips(b, min(n, int(20*time.Second/(2*d))))
		r := b.report()
		signed := func(d time.Duration) string { return fmt.Sprintf("%+.0f µs", float64(d)/1e3) }
		fmt.Printf("| %v | %s | %s | %s | %s | %d µs | %d µs |\n", d, signed(quantile(way, 0.5)-d-base), signed(quantile(way, 0.99)-d-base),
			signed(quantile(trip, 0.5)-2*d-baseTrip), signed(quantile(trip, 0.99)-2*d-baseTrip), r.LateP50US, r.LateP99US)
	}
	b.be(topo.Character{})
	again, againTrip := b.oneWay(b, n, 2*time.Millisecond), b.roundTrips(b, n)
	fmt.Printf("| the ideal link again | %s | %s | %s | %s | - | - |\n\n", micros(quantile(again, 0.5)), micros(quantile(again, 0.99)), micros(quantile(againTrip, 0.5)), micros(quantile(againTrip, 0.99)))
}

func (b *bench) jitters() {
	fmt.Println("| Delay and jitter | Shortest | Mean | Longest (p99.5) | Standard deviation | Of the uniform distribution |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, c := range []topo.Character{
		{Delay: time.Millisecond, Jitter: 500 * time.Microsecond},
		{Delay: 5 * time.Millisecond, Jitter: time.Millisecond},
		{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond},
	} {
		b.be(c)
		all := b.oneWay(b, 500, max(2*time.Millisecond, 2*c.Jitter+time.Millisecond))
		sum, squares := 0.0, 0.0
		for _, d := range all {
			sum += float64(d)
		}
		mean := sum / float64(len(all))
		for _, d := range all {
			squares += (float64(d) - mean) * (float64(d) - mean)
		}
		ms := func(ns float64) string { return strconv.FormatFloat(ns/1e6, 'f', 3, 64) + " ms" }
		fmt.Printf("| %v ± %v | %s | %s | %s | %s | %s |\n", c.Delay, c.Jitter, ms(float64(quantile(all, 0))), ms(mean), ms(float64(quantile(all, 0.995))),
			ms(math.Sqrt(squares/float64(len(all)-1))), ms(float64(c.Jitter)/math.Sqrt(3)))
	}
	fmt.Println()
}

func (b *bench) losses() {
	fmt.Println("| Loss | Frames sent | Missing at the receiver | Share | 99 % of binomial draws | Found no room |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, tc := range []struct {
		p float64
		n int
	}{{0.001, 200_000}, {0.01, 100_000}, {0.1, 50_000}} {
		b.be(topo.Character{})
		b.be(topo.Character{Loss: tc.p})
		got := b.flood(tc.n, 60, 25_000)
		mean, off := float64(tc.n)*tc.p, 2.576*math.Sqrt(float64(tc.n)*tc.p*(1-tc.p))
		fmt.Printf("| %s | %d | %d | %.3f %% | %.0f to %.0f | %d |\n", topo.FormatLoss(tc.p), tc.n, tc.n-got.datagrams, 100*float64(tc.n-got.datagrams)/float64(tc.n), mean-off, mean+off, b.report().Overflow)
	}
	fmt.Println()
}

// flooded is what came of a flood.
type flooded struct {
	datagrams int
	span      time.Duration // from the first to the last, by the kernel's time
}

// flood sends n datagrams with that many bytes from A to B, so many a second.
func (b *bench) flood(n, size int, perSecond float64) flooded {
	b.Helper()
	to, from := listen(b, b.b, b.addrB), listen(b, b.a, b.addrA)
	defer from.Close()
	defer to.Close()
	raw, err := to.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	}
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, size)
		begin := time.Now()
		for i := range n {
			if ahead := time.Duration(float64(i)/perSecond*1e9) - time.Since(begin); ahead > time.Millisecond {
				time.Sleep(ahead) // the rate of datagrams
			}
			_, _ = from.WriteToUDPAddrPort(buf, udpAddr(to)) // what is refused is missing
		}
	}()
	var f flooded
	var first, last time.Time
	buf, control := make([]byte, size), make([]byte, controlSize)
	for {
		if err := to.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			b.Fatal(err)
		}
		_, oob, _, _, err := to.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			f.span = last.Sub(first)
			return f
		}
		f.datagrams++
		if last = timestamp(control[:oob]); first.IsZero() {
			first = last
		}
	}
}

func (b *bench) bandwidths() {
	const datagram, headers = 1472, 42 // Ethernet, IPv4 and UDP
	const segment = 1448               // data of TCP with timestamps in a full frame
	fmt.Println("| Bandwidth | UDP, bits of frames | Error | TCP goodput | Expected | Error | Processor time per frame (UDP) |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, rate := range []uint64{1_000_000, 10_000_000, 100_000_000, 1_000_000_000} {
		b.be(topo.Character{})
		b.be(topo.Character{Bandwidth: rate})
		perSecond := 1.3 * float64(rate) / (8 * fullFrame)
		cpu := b.cpu()
		before := b.report().Frames
		f := b.flood(int(5*perSecond), datagram, perSecond)
		each := (b.cpu() - cpu) / time.Duration(max(1, b.report().Frames-before))
		udp := float64(f.datagrams-1) * 8 * (datagram + headers) / f.span.Seconds()
		tcp, want := b.transfer(max(6*time.Second, time.Duration(20_000_000/rate)*time.Second)), float64(rate)*segment/fullFrame
		share := func(got, want float64) string { return fmt.Sprintf("%+.2f %%", 100*(got-want)/want) }
		fmt.Printf("| %s | %.3f Mbit/s | %s | %.3f Mbit/s | %.3f Mbit/s | %s | %.1f µs |\n", topo.FormatBandwidth(rate), udp/1e6, share(udp, float64(rate)),
			tcp/1e6, want/1e6, share(tcp, want), float64(each)/1e3)
	}
	fmt.Println()
}

// cpu is the processor time of the shaper so far (proc_pid_stat(5), in ticks
// of 10 ms).
func (b *bench) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// transfer sends from A to B over TCP for a while, and returns the bits of data
// a second that arrived after the first half of it: what is lost while TCP looks for
// the bandwidth comes late, and at once.
func (b *bench) transfer(span time.Duration) float64 {
	b.Helper()
	var listener net.Listener
	var conn net.Conn
	err := netns.Do(b.b, func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(b.addrB, 0).String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	err = netns.Do(b.a, func() (err error) {
		conn, err = net.Dial("tcp4", listener.Addr().String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		buf := make([]byte, 64<<10)
		for {
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	}()
	in, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	buf := make([]byte, 256<<10)
	begin := time.Now()
	var since time.Time
	total := 0
	for {
		n, err := in.Read(buf)
		now := time.Now()
		switch {
		case err == io.EOF || now.Sub(begin) > span:
			conn.Close()
			<-sent
			return float64(total) * 8 / now.Sub(since).Seconds()
		case err != nil:
			b.Fatal(err)
		case since.IsZero() && now.Sub(begin) > span/2:
			since = now
		case !since.IsZero():
			total += n
		}
	}
}
