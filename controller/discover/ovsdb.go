package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
)

// The tables and columns in use (ovs-vswitchd.conf.db(5)).
type (
	bridgeRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		DatapathID  *string           `ovsdb:"datapath_id"`
		Type        string            `ovsdb:"datapath_type"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		Ports       []string          `ovsdb:"ports"`
	}
	portRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Interfaces  []string          `ovsdb:"interfaces"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Type        string            `ovsdb:"type"`
		OFPort      *int              `ovsdb:"ofport"`
		Error       *string           `ovsdb:"error"`
		Options     map[string]string `ovsdb:"options"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
)

// bridge is a bridge as the database tells of it.
type bridge struct {
	name  string
	dpid  uint64 // 0: ovs-vswitchd has not made the bridge yet
	kind  string // type of its datapath; "" is the kernel's
	ids   map[string]string
	ports []port // sorted by name
}

// port is a port of a bridge.
type port struct {
	name    string
	kind    string // type of its interface: "" for a device of the machine
	ofport  uint32 // 0: it is not open
	err     string // why it is not open
	bond    bool   // it has several interfaces; the rest is then of none of them
	options map[string]string
	ids     map[string]string
	pod     attached // that ovs-cni made it for; zero: none
}

// attached is an interface of a pod.
type attached struct{ uid, iface string }

const (
	firstRetry    = 50 * time.Millisecond
	longestRetry  = 2 * time.Second
	databaseLimit = 10 * time.Second // for connecting, and for the first answer
)

// errEnded is the end of a connection by the other side.
var errEnded = errors.New("the database closed the connection")

// watchDatabase calls emit with each state of the database until ctx ends.
func watchDatabase(ctx context.Context, endpoint string, log *slog.Logger, emit func([]bridge)) error {
	for retry := firstRetry; ; retry = min(2*retry, longestRetry) {
		begun := time.Now()
		err := followDatabase(ctx, endpoint, emit)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(begun) > databaseLimit {
			retry = firstRetry
		}
		log.Warn("lost the database of Open vSwitch; the last state stands", "ovsdb", endpoint, "error", err, "again_in_at_most", retry)
		pause(ctx, retry/2+rand.N(retry/2))
	}
}

// followDatabase is one connection, from dial to its end. A new client for
// each gives a copy of the database that is never half of an old one.
func followDatabase(ctx context.Context, endpoint string, emit func([]bridge)) error {
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Bridge": &bridgeRow{}, "Port": &portRow{}, "Interface": &interfaceRow{},
	})
	if err != nil {
		return fmt.Errorf("describe database: %w", err)
	}
	quiet := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint(endpoint), client.WithLogger(&quiet))
	if err != nil {
		return fmt.Errorf("make database client: %w", err)
	}
	// The client tells of its end only to who is listening at that moment. Who
	// reads its copy just then would wait for ever: the context ends that.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-c.DisconnectNotify():
			end(errEnded)
		case <-ctx.Done():
		}
	}()
	first, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	if err := c.Connect(first); err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer c.Close()
	changed := make(chan struct{}, 1)
	c.Cache().AddEventHandler(notify(changed))
	// Every column is named: a monitor of whole rows drops updates that touch
	// a column without a field here.
	br, pt, ifc := &bridgeRow{}, &portRow{}, &interfaceRow{}
	if _, err := c.Monitor(first, c.NewMonitor(
		client.WithTable(br, &br.Name, &br.DatapathID, &br.Type, &br.ExternalIDs, &br.Ports),
		client.WithTable(pt, &pt.Name, &pt.Interfaces, &pt.ExternalIDs),
		client.WithTable(ifc, &ifc.Name, &ifc.Type, &ifc.OFPort, &ifc.Error, &ifc.Options, &ifc.ExternalIDs),
	)); err != nil {
		return fmt.Errorf("watch database: %w", err)
	}
	for {
		bridges, err := readDatabase(ctx, c)
		if ctx.Err() != nil { // what was read may be of a copy that was being cleared
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		emit(bridges)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// notify wakes the reader, who then reads all: rows change in heaps.
func notify(changed chan<- struct{}) cache.EventHandler {
	wake := func() {
		select {
		case changed <- struct{}{}:
		default: // it has been told
		}
	}
	return &cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { wake() },
		UpdateFunc: func(string, model.Model, model.Model) { wake() },
		DeleteFunc: func(string, model.Model) { wake() },
	}
}

// readDatabase reads the copy that the client keeps. Between two tables the
// copy may change, and then the client tells of a change, and all is read
// again. Interfaces come first, so that a port that is just being added has
// none yet, and no port loses one that it still has.
func readDatabase(ctx context.Context, c client.Client) ([]bridge, error) {
	var interfaces []interfaceRow
	var ports []portRow
	var bridges []bridgeRow
	if err := errors.Join(c.List(ctx, &interfaces), c.List(ctx, &ports), c.List(ctx, &bridges)); err != nil {
		return nil, fmt.Errorf("read database: %w", err)
	}
	byUUID := map[string]interfaceRow{}
	for _, i := range interfaces {
		byUUID[i.UUID] = i
	}
	portOf := map[string]port{}
	for _, p := range ports {
		if len(p.Interfaces) > 1 {
			portOf[p.UUID] = port{name: p.Name, bond: true}
		} else if len(p.Interfaces) == 1 {
			if i, ok := byUUID[p.Interfaces[0]]; ok {
				found := portFrom(i)
				found.pod = attached{p.ExternalIDs[idPodUID], p.ExternalIDs[idPodInterface]}
				portOf[p.UUID] = found
			}
		}
	}
	out := make([]bridge, 0, len(bridges))
	for _, b := range bridges {
		found := bridge{name: b.Name, kind: b.Type, ids: b.ExternalIDs}
		if b.DatapathID != nil {
			if dpid, err := strconv.ParseUint(*b.DatapathID, 16, 64); err == nil {
				found.dpid = dpid
			}
		}
		for _, uuid := range b.Ports {
			if p, ok := portOf[uuid]; ok {
				found.ports = append(found.ports, p)
			}
		}
		slices.SortFunc(found.ports, func(a, b port) int { return cmp.Compare(a.name, b.name) })
		out = append(out, found)
	}
	slices.SortFunc(out, func(a, b bridge) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func portFrom(i interfaceRow) port {
	p := port{name: i.Name, kind: i.Type, options: i.Options, ids: i.ExternalIDs}
	if i.OFPort != nil && *i.OFPort > 0 { // -1: it could not be opened
		p.ofport = uint32(*i.OFPort)
	}
	if i.Error != nil {
		p.err = *i.Error
	}
	return p
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
