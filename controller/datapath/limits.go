package datapath

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ZoneLimit is the state of a zone that has a limit.
type ZoneLimit struct {
	Limit uint32 // connections that it may hold
	// Connections that it holds: those stored since the limit was set, and
	// not yet forgotten. Ended ones are forgotten late; see Relieve.
	Connections uint32
}

// mostZones is how many zones one command names: 24 bytes each.
const mostZones = 1000

// Limits returns the zones that have a limit. After a restart of ovs-vswitchd
// there are none.
func (c *Control) Limits(ctx context.Context) (map[uint16]ZoneLimit, error) {
	var limits map[uint16]ZoneLimit
	err := c.with(ctx, func(s *session) (err error) {
		limits, err = c.limits(s)
		return err
	})
	return limits, err
}

func (c *Control) limits(s *session) (map[uint16]ZoneLimit, error) {
	text, err := s.call("dpctl/ct-get-limits", c.name)
	if err != nil {
		return nil, fmt.Errorf("read limits of connections: %w", err)
	}
	limits, err := parseLimits(text)
	if err != nil {
		return nil, fmt.Errorf("read limits of connections: %w", err)
	}
	return limits, nil
}

// SetLimits makes the limits of zones exactly these, in all the datapath. A
// zone that keeps its limit is left alone, and one that gets another keeps
// its count. A new limit counts from now on: connections that are there
// already do not count, so set it before the zone is used. A limit of 0 is an
// error, as the two datapaths differ in what it means. Idempotent; when it
// fails half-way, the next call completes it.
func (c *Control) SetLimits(ctx context.Context, want map[uint16]uint32) error {
	for zone, limit := range want {
		if limit == 0 {
			return fmt.Errorf("set limits of connections: zone %d: limit 0", zone)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.with(ctx, func(s *session) error {
		have, err := c.limits(s)
		if err != nil {
			return err
		}
		var set, remove []string
		for _, zone := range slices.Sorted(maps.Keys(want)) {
			if h, ok := have[zone]; !ok || h.Limit != want[zone] {
				set = append(set, fmt.Sprintf("zone=%d,limit=%d", zone, want[zone]))
			}
		}
		for _, zone := range slices.Sorted(maps.Keys(have)) {
			if _, ok := want[zone]; !ok {
				remove = append(remove, strconv.Itoa(int(zone)))
			}
		}
		for some := range slices.Chunk(set, mostZones) {
			if _, err := s.call("dpctl/ct-set-limits", append([]string{c.name}, some...)...); err != nil {
				return fmt.Errorf("set limits of connections: %w", err)
			}
		}
		for some := range slices.Chunk(remove, mostZones) {
			if _, err := s.call("dpctl/ct-del-limits", c.name, "zone="+strings.Join(some, ",")); err != nil {
				return fmt.Errorf("remove limits of connections: %w", err)
			}
		}
		return nil
	})
}

// parseLimits reads what dpctl/ct-get-limits prints: "default limit=0", then
// "zone=5,limit=10,count=3" for each zone.
func parseLimits(text string) (map[uint16]ZoneLimit, error) {
	limits := map[uint16]ZoneLimit{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "default limit=") {
			continue
		}
		fields := strings.Split(line, ",")
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %q: want zone, limit and count", line)
		}
		zone, err := number(fields[0], "zone=", 16)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		limit, err := number(fields[1], "limit=", 32)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		count, err := number(fields[2], "count=", 32)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		limits[uint16(zone)] = ZoneLimit{uint32(limit), uint32(count)}
	}
	return limits, nil
}

// number reads the unsigned number of so many bits after a prefix.
func number(field, prefix string, bits int) (uint64, error) {
	text, ok := strings.CutPrefix(field, prefix)
	if !ok {
		return 0, fmt.Errorf("%q does not begin with %s", field, prefix)
	}
	return strconv.ParseUint(text, 10, bits)
}
