package export

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	smp "github.com/layer5io/service-mesh-performance/spec"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"meshlab.dev/meshlab/scenarios"
)

// smpVersion is what the specification calls itself in its own examples; the
// messages are those of its release 0.6.1.
const smpVersion = "v0.0.1"

// smpDocument holds the messages of the specification side by side, which
// refer to each other by id; it has no message of its own for all of them.
// Each is in the JSON form of Protocol Buffers, with the names of the .proto
// files.
type smpDocument struct {
	Version      string            `json:"smp_version"`
	Environments []json.RawMessage `json:"environment_configs"`
	Meshes       []json.RawMessage `json:"service_mesh_configs"`
	Tests        []json.RawMessage `json:"performance_test_configs"`
	Results      []json.RawMessage `json:"performance_test_results"`
}

// writeSMP writes a test config for each cell, side of a duet and step of a
// ramp, and a result for each attempt and trial.
func writeSMP(w io.Writer, runs []run) error {
	doc := smpDocument{Version: smpVersion}
	for _, r := range runs {
		if err := doc.add(r); err != nil {
			return err
		}
	}
	body, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(body, '\n'))
	return err
}

func (d *smpDocument) add(r run) error {
	environment := r.ID + "/environment"
	if err := put(&d.Environments, smpEnvironment(r, environment)); err != nil {
		return err
	}
	for _, s := range r.series {
		id := r.ID + "/" + s.key
		if err := put(&d.Meshes, smpMesh(r, s, id+"/mesh")); err != nil {
			return err
		}
		if s.loop != rampLoop {
			if err := put(&d.Tests, smpTest(r, s, s.rate, id+"/test")); err != nil {
				return err
			}
		}
		for _, p := range s.points {
			test := id + "/test"
			if s.loop == rampLoop {
				test = fmt.Sprintf("%s/test-%d", id, p.number)
				if err := put(&d.Tests, smpTest(r, s, p.rate, test)); err != nil {
					return err
				}
			}
			result := smpResult(s, p, fmt.Sprintf("%s/%d", id, p.number))
			result.TestId, result.MeshConfigId, result.EnvId = test, id+"/mesh", environment
			if err := put(&d.Results, result); err != nil {
				return err
			}
		}
	}
	return nil
}

// put appends a message. protojson varies its white space on purpose, so that
// nobody relies on it; it goes when the whole document is encoded.
func put(list *[]json.RawMessage, m proto.Message) error {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	*list = append(*list, body)
	return nil
}

func smpEnvironment(r run, id string) *smp.EnvironmentConfig {
	e := r.Environment
	return &smp.EnvironmentConfig{
		SmpVersion: smpVersion, Id: id,
		Nodes: []*smp.EnvironmentConfig_Node{{Type: e.CPU, Cores: int32(e.Cores), MemMb: int64(e.MemoryBytes / 1e6)}}, //nolint:gosec // far below
		Labels: labelsOf(
			"os", e.OS, "kernel", e.Kernel, "virtualization", e.Virtualization, "open_vswitch", e.OpenVSwitch,
			"datapath", e.Datapath, "consul", e.Consul, "postgres", e.Postgres, "congestion_control", e.CongestionControl,
			"place", e.Place(), "runtime", e.Runtime, "docker", e.Docker,
			"fingerprint", e.Fingerprint,
		),
	}
}

func smpMesh(r run, s series, id string) *smp.ServiceMeshConfig {
	m := &smp.ServiceMeshConfig{
		SmpVersion: smpVersion, Id: id, ExpGroupUuid: r.ID, ExpUuid: r.ID + "/" + s.key,
		Labels:              labelsOf("mesh", s.mesh, "variant", s.variant),
		ApplicationMetadata: &smp.ApplicationMetadata{ApplicationName: s.lab},
	}
	for _, info := range r.Meshes {
		if info.Name == s.mesh {
			m.MtlsEnabled = info.MTLS
			m.Labels["data_path"] = info.DataPath
		}
	}
	m.MeshType = &smp.ServiceMesh{Labels: map[string]string{"name": s.mesh}}
	switch s.mesh {
	case "consul-connect": // the only one for which the specification has a name
		m.MeshType.Type, m.MeshType.Version = smp.ServiceMesh_CONSUL, r.Environment.Consul
		m.MeshBuild, m.ProxyBuild = r.Environment.Consul, r.Environment.Proxy
	case "ovs":
		m.MeshBuild = r.Environment.Meshlab
		if s.build != "" {
			m.MeshBuild = s.build
		}
	}
	if c, ok := usage(s.points, "sidecar"); ok {
		m.Sidecar = &smp.ServiceMeshConfig_Sidecar{CpuMcores: c.milliCores, MemMb: c.megabytes}
	}
	if c, ok := usage(s.points, "controller", "registry"); ok {
		m.MeshControlPlane = &smp.ServiceMeshConfig_MeshControlPlane{CpuMcores: c.milliCores, MemMb: c.megabytes}
	}
	return m
}

type partUsage struct{ milliCores, megabytes int32 }

// usage is the mean use of parts of a lab over all points that have it.
func usage(points []point, parts ...string) (u partUsage, ok bool) {
	cpu, memory, seconds, n := 0.0, 0.0, 0.0, 0
	for _, p := range points {
		found := false
		for _, c := range p.costs {
			for _, part := range parts {
				if c.Part == part {
					found = true
					cpu += c.CPUSeconds
					memory += float64(c.MemoryBytes)
				}
			}
		}
		if found {
			seconds += p.seconds
			n++
		}
	}
	if n == 0 || seconds <= 0 {
		return u, false
	}
	return partUsage{int32(math.Round(1000 * cpu / seconds)), int32(math.Round(memory / float64(n) / 1e6))}, true
}

func smpTest(r run, s series, rate float64, id string) *smp.PerformanceTestConfig {
	c := &smp.PerformanceTestConfig_Client{
		Internal: true, LoadGenerator: "meshlab " + r.Environment.Meshlab,
		Connections: int32(s.connections), Rps: int64(math.Round(rate)), //nolint:gosec // far below
	}
	targets := r.targets(s)
	for _, t := range targets {
		c.EndpointUrls = append(c.EndpointUrls, t.URL)
		switch t.Protocol {
		case scenarios.GRPC:
			c.Protocol = smp.PerformanceTestConfig_Client_PROTOCOL_GRPC
		case scenarios.TCPEcho:
			c.Protocol = smp.PerformanceTestConfig_Client_PROTOCOL_TCP
		case scenarios.UDPEcho:
			c.Protocol = smp.PerformanceTestConfig_Client_PROTOCOL_UDP
		default:
			c.Protocol = smp.PerformanceTestConfig_Client_PROTOCOL_HTTP
		}
	}
	if len(targets) == 1 {
		c.Headers, c.Body = targets[0].Headers, targets[0].Body
		c.ContentType = targets[0].Headers["Content-Type"]
	}
	seconds := 0.0
	for _, p := range s.points {
		seconds = max(seconds, p.seconds)
	}
	test := &smp.PerformanceTestConfig{
		SmpVersion: smpVersion, Id: id, Name: s.name(), Clients: []*smp.PerformanceTestConfig_Client{c},
		Labels: labelsOf("loop", string(s.loop), "method", string(s.method), "scenario", s.scenario, "request", s.request,
			"lab", s.lab, "pods", string(s.pods), "arrivals", string(s.arrivals), "command", strings.Join(r.Command, " ")),
	}
	if seconds > 0 {
		test.Duration = duration(seconds).Round(time.Millisecond).String()
	}
	return test
}

func smpResult(s series, p point, id string) *smp.PerformanceTestResult {
	result := &smp.PerformanceTestResult{
		SmpVersion: smpVersion, Id: id, ActualQps: p.achieved(),
		Labels: labelsOf("clock", s.clock(), "attempts", attempts(s, p),
			"requests", count(p.requests), "errors", count(p.errors),
			"steal_ratio", ofTrial(p, func(t *scenarios.Trial) string { return number(t.Steal) })),
	}
	if !p.started.IsZero() {
		result.StartTime = timestamppb.New(p.started)
		result.EndTime = timestamppb.New(p.started.Add(duration(p.seconds)))
	}
	if d := p.latency; d != nil {
		result.LatenciesMs = &smp.PerformanceTestResult_Latency{
			Min: d.Min, Average: d.Avg, P50: d.P50, P90: d.P90, P99: d.P99, Max: d.Max,
		}
	}
	return result
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// labelsOf makes labels of names and values in turn, without the empty ones.
func labelsOf(pairs ...string) map[string]string {
	labels := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			labels[pairs[i]] = pairs[i+1]
		}
	}
	return labels
}
