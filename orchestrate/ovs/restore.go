package ovs

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// restoreWait is the key in Open_vSwitch:other_config that makes a switch,
// when it starts, leave packets alone until the key is gone. A switch reads it
// at its start, and later only to see whether the wait is over
// (ovs-vswitchd.conf.db(5), flow-restore-wait). In the meantime the userspace
// datapath drops all packets, and the kernel's goes on with the flows that it
// has; ports, OpenFlow and the database work as ever.
const restoreWait = "flow-restore-wait"

// HoldRestarted makes each switch that starts from now on wait for
// LetThrough before it handles packets, so that none meets a pipeline that is
// empty or half there. The running switch goes on. Doing it again changes
// nothing.
func (db *DB) HoldRestarted(ctx context.Context) error {
	root, err := db.root(ctx)
	if err != nil {
		return err
	}
	ops, err := db.setRestoreWait(root, ovsdb.MutateOperationInsert)
	if err == nil {
		err = db.transact(ctx, ops)
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", restoreWait, err)
	}
	return nil
}

// LetThrough ends the wait of a switch that HoldRestarted made wait, and
// returns when the switch has taken note. The next one waits again. For a
// switch that does not wait it changes nothing.
func (db *DB) LetThrough(ctx context.Context) error {
	root, err := db.root(ctx)
	if err != nil {
		return err
	}
	if err := db.endRestoreWait(ctx, root); err != nil {
		return fmt.Errorf("end %s: %w", restoreWait, err)
	}
	return db.HoldRestarted(ctx)
}

// endRestoreWait takes the key away, and waits until the switch has read that
// (ovs-vswitchd.conf.db(5), next_cfg and cur_cfg): were the key back before,
// it might see no change.
func (db *DB) endRestoreWait(ctx context.Context, root *openVSwitch) error {
	ops, err := db.setRestoreWait(root, ovsdb.MutateOperationDelete)
	if err != nil {
		return err
	}
	count, err := db.c.Where(root).Mutate(root, model.Mutation{Field: &root.NextCfg, Mutator: ovsdb.MutateOperationAdd, Value: 1})
	if err != nil {
		return err
	}
	ops = append(append(ops, count...), ovsdb.Operation{
		Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Columns: []string{"next_cfg"}, Where: []ovsdb.Condition{},
	})
	results, err := db.c.Transact(ctx, ops...)
	if err != nil {
		return err
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return err
	}
	rows := results[len(results)-1].Rows
	if len(rows) != 1 {
		return fmt.Errorf("the database has %d root rows", len(rows))
	}
	number, ok := rows[0]["next_cfg"].(float64) // JSON has no other numbers
	if !ok {
		return errors.New("the database does not count its changes")
	}
	err = poll(ctx, func() (bool, error) {
		now, err := db.root(ctx)
		return err == nil && now.CurCfg >= int(number), err
	})
	if err != nil {
		return fmt.Errorf("wait for ovs-vswitchd to read it: %w", err)
	}
	return nil
}

func (db *DB) setRestoreWait(root *openVSwitch, how ovsdb.Mutator) ([]ovsdb.Operation, error) {
	return db.c.Where(root).Mutate(root, model.Mutation{
		Field: &root.OtherConfig, Mutator: how, Value: map[string]string{restoreWait: "true"},
	})
}
