package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/vishvananda/netlink"
)

// The tables and columns in use (ovs-vswitchd.conf.db(5)).
type (
	openVSwitch struct {
		UUID          string            `ovsdb:"_uuid"`
		Bridges       []string          `ovsdb:"bridges"`
		DatapathTypes []string          `ovsdb:"datapath_types"`
		ExternalIDs   map[string]string `ovsdb:"external_ids"`
		OtherConfig   map[string]string `ovsdb:"other_config"`
		NextCfg       int               `ovsdb:"next_cfg"`
		CurCfg        int               `ovsdb:"cur_cfg"`
	}
	bridgeRow struct {
		UUID         string            `ovsdb:"_uuid"`
		Name         string            `ovsdb:"name"`
		DatapathType string            `ovsdb:"datapath_type"`
		FailMode     *string           `ovsdb:"fail_mode"`
		Protocols    []string          `ovsdb:"protocols"`
		OtherConfig  map[string]string `ovsdb:"other_config"`
		Ports        []string          `ovsdb:"ports"`
		Controller   []string          `ovsdb:"controller"`
	}
	controllerRow struct {
		UUID   string `ovsdb:"_uuid"`
		Target string `ovsdb:"target"`
	}
	portRow struct {
		UUID       string   `ovsdb:"_uuid"`
		Name       string   `ovsdb:"name"`
		Interfaces []string `ovsdb:"interfaces"`
	}
	interfaceRow struct {
		UUID          string            `ovsdb:"_uuid"`
		Name          string            `ovsdb:"name"`
		Type          string            `ovsdb:"type"`
		Options       map[string]string `ovsdb:"options"`
		OFPort        *int              `ovsdb:"ofport"`
		OFPortRequest *int              `ovsdb:"ofport_request"`
		MTURequest    *int              `ovsdb:"mtu_request"`
		Error         *string           `ovsdb:"error"`
	}
)

// Datapath types (ovs-vswitchd.conf.db(5), Bridge.datapath_type).
const (
	DatapathKernel    = "system"
	DatapathUserspace = "netdev"
)

// Bridge is a switch to be made.
type Bridge struct {
	Name  string
	DPID  uint64
	Ports []Port
	// Listen is where it takes connections of controllers beside its management
	// socket, for example pssl:6653:198.18.0.2 (ovs-vswitchd.conf.db(5),
	// Controller, "target"); "": nowhere.
	Listen string
}

// Port is a port of a bridge.
type Port struct {
	Name   string // of the network device; of the patch port when Peer is set
	OFPort uint32 // OpenFlow port number
	Peer   string // name of the patch port at the other end, or ""
}

// DB is a connection to the database of the instance.
type DB struct {
	c client.Client
}

// Open connects to the database and waits until the switch has reported
// itself there.
func (i Instance) Open(ctx context.Context) (*DB, error) {
	if err := i.WaitDatabase(ctx); err != nil {
		return nil, err
	}
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Open_vSwitch": &openVSwitch{}, "Bridge": &bridgeRow{}, "Port": &portRow{}, "Interface": &interfaceRow{},
		"Controller": &controllerRow{},
	})
	if err != nil {
		return nil, fmt.Errorf("describe Open vSwitch database: %w", err)
	}
	quiet := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint("unix:"+i.dbSocket()), client.WithLogger(&quiet))
	if err != nil {
		return nil, fmt.Errorf("make Open vSwitch database client: %w", err)
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to Open vSwitch database: %w", err)
	}
	db := &DB{c}
	// Every column is named: a monitor of whole rows drops updates that touch
	// a column without a field here.
	root, br, port, ifc := &openVSwitch{}, &bridgeRow{}, &portRow{}, &interfaceRow{}
	if _, err := c.Monitor(ctx, c.NewMonitor(
		client.WithTable(root, &root.Bridges, &root.DatapathTypes, &root.CurCfg),
		client.WithTable(br, &br.Name, &br.Ports),
		client.WithTable(port, &port.Name, &port.Interfaces),
		client.WithTable(ifc, &ifc.Name, &ifc.OFPort, &ifc.Error),
	)); err != nil {
		c.Close()
		return nil, fmt.Errorf("watch Open vSwitch database: %w", err)
	}
	return db, nil
}

// Close ends the connection.
func (db *DB) Close() { db.c.Close() }

// DatapathTypes lists what the running switch supports; empty until it has
// started.
func (db *DB) DatapathTypes(ctx context.Context) ([]string, error) {
	var rows []openVSwitch
	if err := db.c.List(ctx, &rows); err != nil {
		return nil, fmt.Errorf("read Open vSwitch database: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return rows[0].DatapathTypes, nil
}

// Initialise writes the root row of an empty database and waits until the
// switch has filled it in; it returns the datapath type to use: the kernel's
// when the switch offers it.
func (db *DB) Initialise(ctx context.Context) (datapath string, err error) {
	var rows []openVSwitch
	if err := db.c.List(ctx, &rows); err != nil {
		return "", fmt.Errorf("read Open vSwitch database: %w", err)
	}
	if len(rows) == 0 {
		ops, err := db.c.Create(&openVSwitch{UUID: "root", ExternalIDs: map[string]string{"system-type": "meshlab"}})
		if err != nil {
			return "", fmt.Errorf("initialise Open vSwitch database: %w", err)
		}
		if err := db.transact(ctx, ops); err != nil {
			return "", fmt.Errorf("initialise Open vSwitch database: %w", err)
		}
	}
	var types []string
	err = poll(ctx, func() (bool, error) {
		types, err = db.DatapathTypes(ctx)
		return len(types) > 0, err
	})
	if err != nil {
		return "", fmt.Errorf("wait for ovs-vswitchd: %w", err)
	}
	// The switch lists the kernel's datapath also where the kernel has none.
	if slices.Contains(types, DatapathKernel) && KernelDatapath() {
		return DatapathKernel, nil
	}
	return DatapathUserspace, nil
}

// KernelDatapath tells whether the running kernel has the datapath of Open
// vSwitch; asking for its netlink family loads the module where there is one.
func KernelDatapath() bool {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	return err == nil
}

// AddBridges makes all bridges with their ports in one transaction, and
// waits until the switch has opened every port.
func (db *DB) AddBridges(ctx context.Context, datapath string, bridges []Bridge) error {
	var ops []ovsdb.Operation
	var bridgeIDs []string
	add := func(m model.Model) error {
		o, err := db.c.Create(m)
		ops = append(ops, o...)
		return err
	}
	secure := "secure"
	names := map[string]uint32{}
	for i, b := range bridges {
		row := bridgeRow{
			UUID: fmt.Sprintf("bridge%d", i), Name: b.Name, DatapathType: datapath, FailMode: &secure,
			Protocols:   []string{"OpenFlow13", "OpenFlow14", "OpenFlow15"},
			OtherConfig: map[string]string{"datapath-id": fmt.Sprintf("%016x", b.DPID)},
		}
		ports := append([]Port{{Name: b.Name}}, b.Ports...)
		for j, p := range ports {
			ifc := interfaceRow{UUID: fmt.Sprintf("ifc%dx%d", i, j), Name: p.Name}
			switch {
			case j == 0:
				ifc.Type = "internal"
			case p.Peer != "":
				ifc.Type, ifc.Options = "patch", map[string]string{"peer": p.Peer}
			}
			if p.OFPort != 0 {
				n := int(p.OFPort)
				ifc.OFPortRequest = &n
				names[p.Name] = p.OFPort
			}
			pr := portRow{UUID: fmt.Sprintf("port%dx%d", i, j), Name: p.Name, Interfaces: []string{ifc.UUID}}
			row.Ports = append(row.Ports, pr.UUID)
			if err := errors.Join(add(&ifc), add(&pr)); err != nil {
				return fmt.Errorf("add port %s to bridge %s: %w", p.Name, b.Name, err)
			}
		}
		if b.Listen != "" {
			c := controllerRow{UUID: fmt.Sprintf("controller%d", i), Target: b.Listen}
			row.Controller = []string{c.UUID}
			if err := add(&c); err != nil {
				return fmt.Errorf("add controller %s to bridge %s: %w", b.Listen, b.Name, err)
			}
		}
		bridgeIDs = append(bridgeIDs, row.UUID)
		if err := add(&row); err != nil {
			return fmt.Errorf("add bridge %s: %w", b.Name, err)
		}
	}
	root, err := db.root(ctx)
	if err != nil {
		return err
	}
	link, err := db.c.Where(root).Mutate(root, model.Mutation{
		Field: &root.Bridges, Mutator: ovsdb.MutateOperationInsert, Value: bridgeIDs,
	})
	if err != nil {
		return fmt.Errorf("add bridges: %w", err)
	}
	if err := db.transact(ctx, append(ops, link...)); err != nil {
		return fmt.Errorf("add bridges: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, portWait)
	defer cancel()
	return db.waitPorts(ctx, names)
}

// root is the one row of the database's root table.
func (db *DB) root(ctx context.Context) (*openVSwitch, error) {
	var rows []openVSwitch
	if err := db.c.List(ctx, &rows); err != nil {
		return nil, fmt.Errorf("read Open vSwitch database: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("read Open vSwitch database: the root row is missing; Initialise writes it")
	}
	return &rows[0], nil
}

// portWait is how long the switch may take to open the ports of a change.
const portWait = 20 * time.Second

func (db *DB) waitPorts(ctx context.Context, want map[string]uint32) error {
	missing := ""
	err := poll(ctx, func() (bool, error) {
		var rows []interfaceRow
		if err := db.c.List(ctx, &rows); err != nil {
			return false, err
		}
		open := map[string]int{}
		for _, r := range rows {
			if r.Error != nil && *r.Error != "" {
				return false, fmt.Errorf("open port %s: %s", r.Name, *r.Error)
			}
			if r.OFPort != nil {
				open[r.Name] = *r.OFPort
			}
		}
		for name, n := range want {
			if open[name] != int(n) {
				missing = name
				return false, nil
			}
		}
		return true, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("wait for port %s: %w", missing, err)
	}
	return err
}

func (db *DB) transact(ctx context.Context, ops []ovsdb.Operation) error {
	res, err := db.c.Transact(ctx, ops...)
	if err != nil {
		return err
	}
	if failed, err := ovsdb.CheckOperationResults(res, ops); err != nil {
		for _, f := range failed {
			err = fmt.Errorf("%w: %w", err, f)
		}
		return err
	}
	return nil
}

func waitSocket(ctx context.Context, path string) error {
	var refused error
	err := poll(ctx, func() (bool, error) {
		// That the file exists is not enough: a server binds its socket to the
		// name first and listens later, and refuses connections in between.
		c, err := net.Dial("unix", path)
		if refused = err; err != nil {
			return false, nil
		}
		_ = c.Close() // nothing was sent
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w: %w", path, err, refused)
	}
	return nil
}

// poll asks every few milliseconds until ask says yes, fails, or ctx ends.
func poll(ctx context.Context, ask func() (bool, error)) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}
