package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"meshlab.dev/meshlab/controller/pipeline"
)

// family is one metric of the traffic. A series of it is the sum of all
// totals of its kinds that agree in its labels.
type family struct {
	desc   *prometheus.Desc
	labels []string
	kinds  []pipeline.CounterKind
	whole  bool // of totals, those without an instance: a flow's count of all
	value  func(amount) uint64
}

func packets(a amount) uint64 { return a.packets }
func bytes(a amount) uint64   { return a.bytes }

// families are the metrics of the traffic. Each name, label and sum is
// explained in docs/metrics.md.
func families() []family {
	edge := []string{"datapath", "source", "destination"}
	instance := []string{"datapath", "destination", "service_instance"} // Prometheus calls what it scrapes "instance"
	var all []family
	add := func(name, help string, value func(amount) uint64, labels []string, kinds ...pipeline.CounterKind) {
		all = append(all, family{
			desc: prometheus.NewDesc(name, help, labels, nil), labels: labels, kinds: kinds, value: value,
			whole: !slices.Contains(labels, "service_instance"),
		})
	}
	add("meshlab_sent_packets_total", "Packets that a service sent to another through the mesh.", packets, edge, pipeline.CountSent, pipeline.CountOpened)
	add("meshlab_sent_bytes_total", "Bytes in the packets that a service sent to another through the mesh, headers included.", bytes, edge, pipeline.CountSent, pipeline.CountOpened)
	add("meshlab_connection_attempts_total", "SYNs that a service sent to another, those sent again too.", packets, edge, pipeline.CountOpened)
	add("meshlab_denied_packets_total", "Packets that an intention or the default forbids.", packets, edge, pipeline.CountDenied)
	add("meshlab_connections_total", "New connections that the mesh gave to an instance.", packets, instance, pipeline.CountChosen)
	add("meshlab_received_packets_total", "Packets of an instance to its clients in the mesh.", packets, instance, pipeline.CountReceived)
	add("meshlab_received_bytes_total", "Bytes in the packets of an instance to its clients in the mesh, headers included.", bytes, instance, pipeline.CountReceived)
	add("meshlab_resets_total", "TCP resets that an instance sent, as far as the switch showed them to the controller.", packets, instance, pipeline.CountResets)
	add("meshlab_repeated_syns_total", "SYNs sent again because the instance did not answer the first, as far as the switch showed them to the controller.", packets, instance, pipeline.CountRepeated)
	add("meshlab_reset_packets_total", "TCP resets of instances, shown to the controller or not.", packets, []string{"datapath"}, pipeline.CountResets)
	add("meshlab_repeated_syn_packets_total", "SYNs sent again because the instance did not answer the first, shown to the controller or not.", packets, []string{"datapath"}, pipeline.CountRepeated)
	add("meshlab_spoofed_packets_total", "Packets dropped because their source address is not that of the host at the port.", packets, []string{"datapath", "host"}, pipeline.CountSpoofed)
	add("meshlab_refused_packets_total", "Packets to the mesh answered with a reset, because nothing could take them.", packets, []string{"datapath"}, pipeline.CountRefused)
	add("meshlab_dns_queries_total", "Packets to port 53 of the virtual address: over UDP, questions.", packets, []string{"datapath"}, pipeline.CountDNS)
	return all
}

// label gives a label of a total. Names come from a registry; a label that is
// not UTF-8 would spoil the whole page.
func label(name, datapath string, c pipeline.Counter) string {
	value := ""
	switch name {
	case "datapath":
		value = datapath
	case "source":
		value = c.Source
	case "destination":
		value = c.Destination
	case "service_instance":
		value = c.Instance
	case "host":
		value = c.Host
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}

// collect sends the series of the family.
func (f family) collect(all []total, reads []reading, ch chan<- prometheus.Metric) {
	sums := map[[3]string]uint64{}
	for _, t := range all {
		if !slices.Contains(f.kinds, t.counter.Kind) || f.whole != (t.counter.Instance == "") {
			continue
		}
		var key [3]string
		for i, name := range f.labels {
			key[i] = label(name, reads[t.read].datapath, t.counter)
		}
		sums[key] += f.value(t.now)
	}
	for key, n := range sums {
		ch <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(n), key[:len(f.labels)]...)
	}
}
