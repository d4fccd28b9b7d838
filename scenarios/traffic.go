package scenarios

import (
	"errors"
	"fmt"
	"math"
)

// Traffic is what the switches counted while a lab was under load, by the
// mesh whose flows count; the others have none. It is the difference of two
// readings, one before the first attempt and one after the last: what the
// services sent meanwhile for reasons of their own is in it too.
type Traffic struct {
	Mesh      string            `json:"mesh"`
	Seconds   float64           `json:"seconds"` // that attempts took, warm-ups included: what rates are over
	Edges     []TrafficEdge     `json:"edges"`
	Instances []TrafficInstance `json:"instances"`
}

// TrafficEdge is what a service sent to another.
type TrafficEdge struct {
	Source      string `json:"source"`      // AnyService: any; empty: the switch cannot tell
	Destination string `json:"destination"` // AnyService: any
	Attempts    uint64 `json:"attempts"`    // SYNs, those sent again too
	Packets     uint64 `json:"packets"`     // of the client
	Bytes       uint64 `json:"bytes"`       // in them, with their headers
	Denied      uint64 `json:"denied"`      // packets
}

// TrafficInstance is what an instance got and answered.
type TrafficInstance struct {
	Service     string `json:"service"`
	ID          string `json:"id"`
	Connections uint64 `json:"connections"` // new ones that it was chosen for
	Packets     uint64 `json:"packets"`     // to its clients
	Bytes       uint64 `json:"bytes"`       // in them, with their headers
	Resets      uint64 `json:"resets"`      // that it sent
	Unanswered  uint64 `json:"unanswered"`  // SYNs sent again because it did not answer
}

// AnyService stands for every service, in an edge.
const AnyService = "*"

// PerSecond is a total as a rate; 0 when nothing was under load.
func (t *Traffic) PerSecond(total uint64) float64 {
	if t.Seconds <= 0 {
		return 0
	}
	return float64(total) / t.Seconds
}

func (t *Traffic) validate() error {
	if t.Mesh == "" {
		return errors.New("mesh is empty")
	}
	if math.IsNaN(t.Seconds) || math.IsInf(t.Seconds, 0) || t.Seconds < 0 {
		return fmt.Errorf("seconds is %v: want a number, 0 or more", t.Seconds)
	}
	type pair struct{ first, second string }
	edges, instances := map[pair]bool{}, map[pair]bool{}
	for i, e := range t.Edges {
		key := pair{e.Source, e.Destination}
		if e.Destination == "" {
			return fmt.Errorf("edges[%d]: destination is empty", i)
		}
		if edges[key] {
			return fmt.Errorf("edges[%d]: %q to %q is there twice", i, e.Source, e.Destination)
		}
		edges[key] = true
	}
	for i, n := range t.Instances {
		key := pair{n.Service, n.ID}
		if n.Service == "" || n.ID == "" {
			return fmt.Errorf("instances[%d]: service or id is empty", i)
		}
		if instances[key] {
			return fmt.Errorf("instances[%d]: %s of %s is there twice", i, n.ID, n.Service)
		}
		instances[key] = true
	}
	return nil
}
