package ovs

import (
	"context"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// TurnIntoDevices makes ports of the network devices of the same names out of
// patch ports, and waits until the switch has opened them. They keep their
// OpenFlow numbers, by which flows know them; ports has these by name. What is
// on its way through them in that moment is lost. Doing it again changes
// nothing.
func (db *DB) TurnIntoDevices(ctx context.Context, ports map[string]uint32) error {
	var rows []interfaceRow
	if err := db.c.List(ctx, &rows); err != nil {
		return fmt.Errorf("read Open vSwitch database: %w", err)
	}
	var ops []ovsdb.Operation
	found := 0
	for _, row := range rows {
		if _, ok := ports[row.Name]; !ok {
			continue
		}
		found++
		row.Type, row.Options = "", map[string]string{}
		update, err := db.c.Where(&row).Update(&row, &row.Type, &row.Options)
		if err != nil {
			return fmt.Errorf("turn patch port %s into a device: %w", row.Name, err)
		}
		ops = append(ops, update...)
	}
	if found != len(ports) {
		return fmt.Errorf("turn patch ports %v into devices: the database has %d of them", ports, found)
	}
	if err := db.transact(ctx, ops); err != nil {
		return fmt.Errorf("turn patch ports %v into devices: %w", ports, err)
	}
	ctx, cancel := context.WithTimeout(ctx, portWait)
	defer cancel()
	return db.waitPorts(ctx, ports)
}
