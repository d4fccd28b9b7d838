package ovs

import (
	"context"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// nowhere is the peer of a patch port that is cut: no port may have this name,
// so what is sent there is dropped (ovs-vswitchd.conf.db(5), options:peer).
const nowhere = "meshlab-cut"

// CutPatch parts two patch ports that are each other's peers: what either
// bridge sends there is dropped. The ports stay. Doing it again changes nothing.
func (db *DB) CutPatch(ctx context.Context, a, b string) error {
	return db.setPeers(ctx, map[string]string{a: nowhere, b: nowhere})
}

// JoinPatch joins two patch ports that CutPatch parted. Doing it again changes
// nothing.
func (db *DB) JoinPatch(ctx context.Context, a, b string) error {
	return db.setPeers(ctx, map[string]string{a: b, b: a})
}

func (db *DB) setPeers(ctx context.Context, peers map[string]string) error {
	var rows []interfaceRow
	if err := db.c.List(ctx, &rows); err != nil {
		return fmt.Errorf("read Open vSwitch database: %w", err)
	}
	var ops []ovsdb.Operation
	found := 0
	for _, row := range rows {
		peer, ok := peers[row.Name]
		if !ok {
			continue
		}
		found++
		row.Options = map[string]string{"peer": peer}
		update, err := db.c.Where(&row).Update(&row, &row.Options)
		if err != nil {
			return fmt.Errorf("set peer of patch port %s: %w", row.Name, err)
		}
		ops = append(ops, update...)
	}
	if found != len(peers) {
		return fmt.Errorf("set peers of patch ports %v: the database has %d of them", peers, found)
	}
	if err := db.transact(ctx, ops); err != nil {
		return fmt.Errorf("set peers of patch ports %v: %w", peers, err)
	}
	return nil
}
