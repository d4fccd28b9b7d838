package export

import (
	"encoding/json"
	"testing"

	smp "github.com/layer5io/service-mesh-performance/spec"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// readSMP reads the messages with the specification's own types; protojson
// refuses fields that they do not have.
func readSMP(t *testing.T, body []byte) (environments []*smp.EnvironmentConfig, meshes []*smp.ServiceMeshConfig,
	tests []*smp.PerformanceTestConfig, results []*smp.PerformanceTestResult,
) {
	t.Helper()
	var doc smpDocument
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	read := func(raw json.RawMessage, m proto.Message) {
		if err := protojson.Unmarshal(raw, m); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	for _, raw := range doc.Environments {
		m := &smp.EnvironmentConfig{}
		read(raw, m)
		environments = append(environments, m)
	}
	for _, raw := range doc.Meshes {
		m := &smp.ServiceMeshConfig{}
		read(raw, m)
		meshes = append(meshes, m)
	}
	for _, raw := range doc.Tests {
		m := &smp.PerformanceTestConfig{}
		read(raw, m)
		tests = append(tests, m)
	}
	for _, raw := range doc.Results {
		m := &smp.PerformanceTestResult{}
		read(raw, m)
		results = append(results, m)
	}
	return environments, meshes, tests, results
}

func TestSMPIsOfTheSpecification(t *testing.T) {
	for _, r := range []*scenarios.Result{tiny(t), sample.Result(sample.Small), sample.Result(sample.Small, sample.OnlyErrors)} {
		environments, meshes, tests, results := readSMP(t, write(t, "smp", r))
		ids := make(map[string]bool)
		add := func(id string) {
			if id == "" || ids[id] {
				t.Errorf("id %q is empty or there twice", id)
			}
			ids[id] = true
		}
		for _, m := range environments {
			add(m.Id)
		}
		for _, m := range meshes {
			add(m.Id)
		}
		for _, m := range tests {
			add(m.Id)
		}
		for _, m := range results {
			add(m.Id)
			for _, id := range []string{m.TestId, m.MeshConfigId, m.EnvId} {
				if !ids[id] {
					t.Errorf("%s refers to %q, which is not there", m.Id, id)
				}
			}
		}
	}
}

func TestSMPFigures(t *testing.T) {
	_, meshes, tests, results := readSMP(t, write(t, "smp", tiny(t)))
	attempt := results[1]
	if l := attempt.LatenciesMs; l.Min != 1 || l.Average != 2.5 || l.P50 != 2 || l.P90 != 4 || l.P99 != 4 || l.Max != 4 {
		t.Errorf("latencies %+v", l)
	}
	if attempt.ActualQps != 8 || attempt.EndTime.AsTime().Sub(attempt.StartTime.AsTime()).Seconds() != 0.5 {
		t.Errorf("attempt %+v", attempt)
	}
	if failed := results[2]; failed.LatenciesMs != nil || failed.Labels["errors"] != "3" {
		t.Errorf("without a success: %+v", failed)
	}
	if m := meshes[1]; m.MeshType.Type != smp.ServiceMesh_CONSUL || !m.MtlsEnabled || m.MeshBuild != "1.22" {
		t.Errorf("mesh %+v", m)
	}
	if m := meshes[2]; m.MeshBuild != "v8" || m.MeshControlPlane.CpuMcores != 50 || m.MeshControlPlane.MemMb != 2 || m.Sidecar != nil {
		t.Errorf("base of the duet %+v", m)
	}
	if c := tests[2].Clients[0]; c.Rps != 2 || c.Connections != 4 || !c.Internal || tests[2].Duration != "2s" {
		t.Errorf("test %+v", tests[2])
	}
}

func TestSMPNamesTheRequest(t *testing.T) {
	_, _, tests, _ := readSMP(t, write(t, "smp", sample.Result(sample.Small)))
	for _, test := range tests {
		if test.Name != "api" {
			continue
		}
		c := test.Clients[0]
		if len(c.EndpointUrls) != 1 || c.EndpointUrls[0] != "http://public-api/api" || c.ContentType != "application/json" || c.Body == "" ||
			c.Protocol != smp.PerformanceTestConfig_Client_PROTOCOL_HTTP {
			t.Fatalf("client %+v, want what the lab file says", c)
		}
		return
	}
	t.Error("no test of api")
}
