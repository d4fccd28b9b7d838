package controller

import (
	"maps"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// loopCounters count what the control loop does, by datapath.
type loopCounters struct {
	mu      sync.Mutex
	errors  map[string]uint64
	packets map[string]map[string]uint64
}

func (l *loopCounters) failed(datapath string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.errors == nil {
		l.errors = map[string]uint64{}
	}
	l.errors[datapath]++
}

func (l *loopCounters) packet(datapath string, table uint8) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.packets == nil {
		l.packets = map[string]map[string]uint64{}
	}
	if l.packets[datapath] == nil {
		l.packets[datapath] = map[string]uint64{}
	}
	kind := pipeline.TableName(table)
	if kind == "" {
		kind = "other"
	}
	l.packets[datapath][kind]++
}

// LoopStats implements metrics.Loop.
func (c *Controller) LoopStats() metrics.LoopStats {
	h := c.Health()
	s := metrics.LoopStats{Serial: h.Snapshot, RegistryUp: h.Registry, Warnings: h.Warnings}
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	for _, d := range h.Datapaths {
		s.Datapaths = append(s.Datapaths, metrics.DatapathStats{
			Name: d.Name, Connected: d.Connected, InSync: d.InSync, Flows: d.Flows, Groups: d.Groups, Meters: d.Meters,
			ApplyErrors: c.loop.errors[d.Name], PacketIns: maps.Clone(c.loop.packets[d.Name]), PacketInsDropped: d.Dropped,
		})
	}
	return s
}

// converged notes how long a switch took to follow the registry.
func (c *Controller) converged(datapath string, took time.Duration) {
	if c.cfg.Converged != nil {
		c.cfg.Converged(datapath, took)
	}
}
