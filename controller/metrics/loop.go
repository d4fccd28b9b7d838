package metrics

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Loop is a control loop that tells how it is doing.
type Loop interface {
	// LoopStats gives the state of now. It is called at every scrape, from
	// several goroutines.
	LoopStats() LoopStats
}

// LoopStats is the state of a control loop.
type LoopStats struct {
	Serial     uint64 // of the latest snapshot; 0: none yet
	RegistryUp bool   // the registry answered the last question
	Warnings   []string
	Datapaths  []DatapathStats
}

// DatapathStats is the state of one switch. The numbers that grow count since
// the controller began.
type DatapathStats struct {
	Name             string
	Connected        bool
	InSync           bool // it has confirmed the latest snapshot
	Flows            int  // that it should hold
	Groups           int
	Meters           int
	ApplyErrors      uint64
	PacketIns        map[string]uint64 // by what they are for
	PacketInsDropped uint64            // by the controller, because it could not keep up
}

const (
	warningsShown = 20  // with their text; the number of all is a metric of its own
	warningLength = 200 // bytes of a text
)

// loopCollector turns LoopStats into metrics.
type loopCollector struct {
	loop Loop

	serial, registry, warnings, warning              *prometheus.Desc
	connected, inSync, flows, groups, meters, errors *prometheus.Desc
	packetIns, dropped                               *prometheus.Desc
}

func newLoopCollector(loop Loop) *loopCollector {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &loopCollector{
		loop:      loop,
		serial:    one("meshlab_snapshot_serial", "Number of the latest snapshot of the registry, counted from the start of the controller; 0: none yet."),
		registry:  one("meshlab_registry_up", "Whether the registry answered the last question: 1 or 0."),
		warnings:  one("meshlab_warnings", "Parts of the mesh that the controller does not honour."),
		warning:   one("meshlab_warning_info", "What is not honoured: the first 20 warnings, cut to 200 bytes; always 1.", "text"),
		connected: one("meshlab_datapath_connected", "Whether the controller is connected to the switch: 1 or 0.", "datapath"),
		inSync:    one("meshlab_datapath_in_sync", "Whether the switch has confirmed the latest snapshot: 1 or 0.", "datapath"),
		flows:     one("meshlab_flows", "Flows that the switch should hold.", "datapath"),
		groups:    one("meshlab_groups", "Groups that the switch should hold.", "datapath"),
		meters:    one("meshlab_meters", "Meters that the switch should hold.", "datapath"),
		errors:    one("meshlab_apply_errors_total", "Changes that the switch refused or did not confirm.", "datapath"),
		packetIns: one("meshlab_packet_ins_total", "Packets that the switch handed to the controller, by what they are for.", "datapath", "kind"),
		dropped:   one("meshlab_packet_ins_dropped_total", "Packets from the switch that the controller dropped because it could not keep up.", "datapath"),
	}
}

// Describe implements prometheus.Collector.
func (c *loopCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.serial, c.registry, c.warnings, c.warning, c.connected, c.inSync,
		c.flows, c.groups, c.meters, c.errors, c.packetIns, c.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *loopCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.loop.LoopStats()
	gauge(c.serial, float64(s.Serial))
	gauge(c.registry, truth(s.RegistryUp))
	gauge(c.warnings, float64(len(s.Warnings)))
	shown := map[string]bool{}
	for _, text := range s.Warnings {
		if text = cut(text); len(shown) < warningsShown && !shown[text] {
			shown[text] = true
			gauge(c.warning, 1, text)
		}
	}
	for _, d := range s.Datapaths {
		gauge(c.connected, truth(d.Connected), d.Name)
		gauge(c.inSync, truth(d.InSync), d.Name)
		gauge(c.flows, float64(d.Flows), d.Name)
		gauge(c.groups, float64(d.Groups), d.Name)
		gauge(c.meters, float64(d.Meters), d.Name)
		counter(c.errors, d.ApplyErrors, d.Name)
		counter(c.dropped, d.PacketInsDropped, d.Name)
		for kind, n := range d.PacketIns {
			counter(c.packetIns, n, d.Name, kind)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// cut bounds a text that comes from outside, in UTF-8.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= warningLength {
		return text
	}
	end := warningLength - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// convergence is how long switches take to follow the registry.
func newConvergence() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "meshlab_convergence_seconds",
		Help:    "Time from a snapshot of the registry to its confirmation by the switch.",
		Buckets: convergenceBuckets(),
	}, []string{"datapath"})
}

// convergenceBuckets are 0.5 ms to 30 s: one instance changes in some
// milliseconds, a whole switch of 10,000 services in some seconds.
func convergenceBuckets() []float64 {
	var all []float64
	for _, d := range []time.Duration{
		500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
		20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	} {
		all = append(all, d.Seconds())
	}
	return all
}
