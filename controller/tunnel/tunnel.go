// Package tunnel keeps a bridge ready for the mesh, and joined to the bridges
// of other machines by a VXLAN port for each, through Open vSwitch's database.
// It owns the ports that it made, and touches no other. Who the other machines
// are is handed in.
package tunnel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Config says which bridge, and who is to be reached.
type Config struct {
	OVSDB  string // where the database listens: unix:/path
	Bridge string
	// Peers calls emit, from one goroutine, with all other machines each time
	// these change, until ctx ends, and returns ctx's error then.
	Peers  func(ctx context.Context, emit func([]Peer)) error
	Port   uint16       // UDP port of VXLAN at all machines; 0: 4789 (RFC 7348, section 5)
	Logger *slog.Logger // nil: silent
}

// Peer is another machine.
type Peer struct {
	Name  string
	Addr  netip.Addr // by which this machine reaches it
	Local netip.Addr // by which it reaches this machine; not valid: as routes say
}

const (
	defaultPort   = 4789 // IANA's for VXLAN (RFC 7348, section 5)
	firstRetry    = 50 * time.Millisecond
	longestRetry  = 2 * time.Second
	databaseLimit = 10 * time.Second // for connecting, and for one change

	idPeer  = "meshlab-peer"   // as package discover reads it
	idOwner = "meshlab-tunnel" // true: the port is ours
)

// protocols are those that the controller and ovs-ofctl speak.
var protocols = [...]string{"OpenFlow13", "OpenFlow14", "OpenFlow15"}

// The tables and columns in use (ovs-vswitchd.conf.db(5)).
type (
	bridgeRow struct {
		UUID      string   `ovsdb:"_uuid"`
		Name      string   `ovsdb:"name"`
		FailMode  *string  `ovsdb:"fail_mode"`
		Protocols []string `ovsdb:"protocols"`
		Ports     []string `ovsdb:"ports"`
	}
	portRow struct {
		UUID       string   `ovsdb:"_uuid"`
		Name       string   `ovsdb:"name"`
		Interfaces []string `ovsdb:"interfaces"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Type        string            `ovsdb:"type"`
		Options     map[string]string `ovsdb:"options"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
)

// errEnded is the end of a connection by the other side.
var errEnded = errors.New("the database closed the connection")

// Keep keeps the bridge and its tunnels so until ctx ends, and returns ctx's
// error then. Whatever else changes them, it mends. While the database is
// away, or the bridge is not there, it tries again for ever. At its end the
// tunnels stay.
func Keep(ctx context.Context, cfg Config) error {
	if cfg.Peers == nil || cfg.Bridge == "" {
		return errors.New("keep tunnels: Config.Peers or Config.Bridge is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Port = cmp.Or(cfg.Port, defaultPort)
	k := &keeper{Config: cfg, peers: make(chan []Peer, 1)}
	ctx, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	defer func() { <-done }()
	defer end(nil)
	go func() {
		defer close(done)
		end(cfg.Peers(ctx, func(p []Peer) {
			select {
			case <-k.peers: // nobody has taken it yet
			default:
			}
			k.peers <- p
		}))
	}()
	for retry := firstRetry; ; retry = min(2*retry, longestRetry) {
		begun := time.Now()
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(begun) > databaseLimit {
			retry = firstRetry
		}
		if text := err.Error(); text != k.told {
			k.told = text
			cfg.Logger.Warn("the tunnels are not kept in step; trying again", "bridge", cfg.Bridge, "error", err)
		}
		pause := time.NewTimer(retry/2 + rand.N(retry/2))
		select {
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		case <-pause.C:
		}
	}
}

type keeper struct {
	Config
	peers chan []Peer
	want  []Peer
	known bool   // want has been told
	told  string // the error that was logged last
}

// follow is one connection, from dial to its end.
func (k *keeper) follow(ctx context.Context) error {
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Bridge": &bridgeRow{}, "Port": &portRow{}, "Interface": &interfaceRow{},
	})
	if err != nil {
		return fmt.Errorf("describe database: %w", err)
	}
	quiet := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint(k.OVSDB), client.WithLogger(&quiet))
	if err != nil {
		return fmt.Errorf("make database client: %w", err)
	}
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
		return fmt.Errorf("connect to database %s: %w", k.OVSDB, err)
	}
	defer c.Close()
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	c.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { wake() },
		UpdateFunc: func(string, model.Model, model.Model) { wake() },
		DeleteFunc: func(string, model.Model) { wake() },
	})
	br, pt, ifc := &bridgeRow{}, &portRow{}, &interfaceRow{}
	if _, err := c.Monitor(first, c.NewMonitor(
		client.WithTable(br, &br.Name, &br.FailMode, &br.Protocols, &br.Ports),
		client.WithTable(pt, &pt.Name, &pt.Interfaces),
		client.WithTable(ifc, &ifc.Name, &ifc.Type, &ifc.Options, &ifc.ExternalIDs),
	)); err != nil {
		return fmt.Errorf("watch database: %w", err)
	}
	for {
		if err := k.mend(ctx, c); err != nil {
			return err
		}
		k.told = ""
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case k.want = <-k.peers:
			k.known = true
		}
	}
}

// mend sends what the bridge lacks, in one transaction.
func (k *keeper) mend(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	var bridges []bridgeRow
	var ports []portRow
	var interfaces []interfaceRow
	if err := errors.Join(c.List(ctx, &interfaces), c.List(ctx, &ports), c.List(ctx, &bridges)); err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	at := slices.IndexFunc(bridges, func(b bridgeRow) bool { return b.Name == k.Bridge })
	if at < 0 {
		return fmt.Errorf("bridge %s is not in the database; make it with: ovs-vsctl add-br %s -- set Bridge %s fail-mode=secure", k.Bridge, k.Bridge, k.Bridge)
	}
	p := plan{bridge: bridges[at], ports: ports, interfaces: interfaces}
	ops, err := p.ops(c, k)
	if err != nil || len(ops) == 0 {
		return err
	}
	results, err := c.Transact(ctx, ops...)
	if err == nil {
		_, err = ovsdb.CheckOperationResults(results, ops)
	}
	if err != nil {
		return fmt.Errorf("change bridge %s: %w", k.Bridge, err)
	}
	k.Logger.Info("bridge mended", "bridge", k.Bridge, "tunnels_added", p.added, "tunnels_changed", p.changed, "tunnels_removed", p.removed, "prepared", p.prepared)
	return nil
}

// plan is what is to be done about a bridge.
type plan struct {
	bridge                  bridgeRow
	ports                   []portRow
	interfaces              []interfaceRow
	added, changed, removed []string
	prepared                bool
}

func (p *plan) ops(c client.Client, k *keeper) ([]ovsdb.Operation, error) {
	var ops []ovsdb.Operation
	take := func(more []ovsdb.Operation, err error) error {
		ops = append(ops, more...)
		return err
	}
	var errs []error
	if p.prepare() {
		errs = append(errs, take(c.Where(&p.bridge).Update(&p.bridge, &p.bridge.FailMode, &p.bridge.Protocols)))
	}
	if !k.known {
		return ops, errors.Join(errs...)
	}
	want := wanted(k.want, k.Port)
	byUUID := map[string]interfaceRow{}
	for _, i := range p.interfaces {
		byUUID[i.UUID] = i
	}
	var gone []string
	for _, port := range p.ports {
		if !slices.Contains(p.bridge.Ports, port.UUID) || len(port.Interfaces) != 1 {
			continue
		}
		i := byUUID[port.Interfaces[0]]
		w, ours := want[i.Name]
		switch {
		case i.ExternalIDs[idOwner] != "true":
			// A tunnel that somebody made by hand: a second one to the same
			// machine would not open.
			for name, other := range want {
				if i.Type == "vxlan" && i.Options["remote_ip"] == other.Options["remote_ip"] {
					delete(want, name)
				}
			}
		case !ours:
			gone, p.removed = append(gone, port.UUID), append(p.removed, i.ExternalIDs[idPeer])
		default:
			delete(want, i.Name)
			if !maps.Equal(i.Options, w.Options) || !maps.Equal(i.ExternalIDs, w.ExternalIDs) {
				i.Options, i.ExternalIDs = w.Options, w.ExternalIDs
				errs = append(errs, take(c.Where(&i).Update(&i, &i.Options, &i.ExternalIDs)))
				p.changed = append(p.changed, i.ExternalIDs[idPeer])
			}
		}
	}
	if len(gone) > 0 {
		errs = append(errs, take(c.Where(&p.bridge).Mutate(&p.bridge, model.Mutation{Field: &p.bridge.Ports, Mutator: ovsdb.MutateOperationDelete, Value: gone})))
	}
	var fresh []string
	for n, name := range slices.Sorted(maps.Keys(want)) {
		row := want[name]
		row.UUID = "i" + strconv.Itoa(n)
		port := &portRow{UUID: "p" + strconv.Itoa(n), Name: name, Interfaces: []string{row.UUID}}
		errs = append(errs, take(c.Create(&row)), take(c.Create(port)))
		fresh, p.added = append(fresh, port.UUID), append(p.added, row.ExternalIDs[idPeer])
	}
	if len(fresh) > 0 {
		errs = append(errs, take(c.Where(&p.bridge).Mutate(&p.bridge, model.Mutation{Field: &p.bridge.Ports, Mutator: ovsdb.MutateOperationInsert, Value: fresh})))
	}
	return ops, errors.Join(errs...)
}

// prepare makes the bridge drop what no flow matches, and speak what the
// controller speaks.
func (p *plan) prepare() bool {
	secure := "secure"
	if p.bridge.FailMode == nil || *p.bridge.FailMode != secure {
		p.bridge.FailMode, p.prepared = &secure, true
	}
	for _, name := range protocols {
		if !slices.Contains(p.bridge.Protocols, name) {
			p.bridge.Protocols, p.prepared = append(p.bridge.Protocols, name), true
		}
	}
	return p.prepared
}

// wanted are the interfaces for all peers, by name. Of two peers with one
// address the first by name has the tunnel.
func wanted(peers []Peer, port uint16) map[string]interfaceRow {
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	out, taken := map[string]interfaceRow{}, map[netip.Addr]bool{}
	for _, p := range peers {
		if taken[p.Addr] {
			continue
		}
		taken[p.Addr] = true
		options := map[string]string{"remote_ip": p.Addr.String(), "dst_port": strconv.Itoa(int(port))}
		if p.Local.IsValid() {
			options["local_ip"] = p.Local.String()
		}
		out[nameOf(p.Name)] = interfaceRow{
			Name: nameOf(p.Name), Type: "vxlan", Options: options,
			ExternalIDs: map[string]string{idPeer: p.Name, idOwner: "true"},
		}
	}
	return out
}

// nameOf is the name of the port to a machine: at most 15 bytes, as a device
// of the machine has it (IFNAMSIZ), whatever the machine is called.
func nameOf(machine string) string {
	sum := sha256.Sum256([]byte(machine))
	return "ml" + hex.EncodeToString(sum[:6])
}
