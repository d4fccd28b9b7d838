package supervisor

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/topo"
)

// vswitch is one Open vSwitch of a lab and the bridges in it.
type vswitch struct {
	ovs.Instance
	bridges []ovs.Bridge
	devices int // ports that are network devices
	buffer  int // receive buffer of these, in bytes; 0: the kernel's own

	restarted chan struct{} // told each start of its process
	db        *ovs.DB       // while the lab comes up
}

// vswitches plans one instance for all switches, or one for each.
func vswitches(lab *topo.Lab) []*vswitch {
	var all []*vswitch
	for _, b := range bridges(lab) {
		i := instanceOf(lab, b.Name)
		at := slices.IndexFunc(all, func(v *vswitch) bool { return v.Instance == i })
		if at < 0 {
			at = len(all)
			all = append(all, &vswitch{Instance: i, restarted: make(chan struct{}, 1)})
		}
		v := all[at]
		v.bridges = append(v.bridges, b)
		for _, p := range b.Ports {
			if p.Peer == "" {
				v.devices++
			}
		}
	}
	return all
}

// network makes hosts, cables, and switches.
func (r *raising) network(ctx context.Context) (string, error) {
	hosts, err := r.makeHosts()
	if err != nil {
		return "", err
	}
	all := vswitches(r.lab)
	r.mu.Lock()
	r.switches = all
	r.mu.Unlock()
	defer func() {
		for _, v := range all {
			if v.db != nil {
				v.db.Close()
			}
		}
	}()
	if r.lab.Switches == topo.SwitchesIsolated {
		if err := r.makeMachines(all); err != nil {
			return "", err
		}
	}
	if r.env.Datapath, err = r.startSwitches(ctx, all); err != nil {
		return "", err
	}
	r.env.TxChecksumOffload = r.env.Datapath == ovs.DatapathKernel
	if r.env.OpenVSwitch, err = ovs.Version(ctx); err != nil {
		return "", err
	}
	for _, v := range cables(r.lab, r.env.TxChecksumOffload) {
		if err := link.Connect(v); err != nil {
			return "", err
		}
	}
	if err := r.layTrunks(); err != nil {
		return "", err
	}
	if err := each(ctx, all, r.furnish); err != nil {
		return "", err
	}
	count, where := 0, ""
	for _, v := range all {
		<-v.restarted // of this first start
		go r.keepSwitch(v)
		count += len(v.bridges)
	}
	if r.lab.Switches == topo.SwitchesIsolated {
		where = " of their own"
	}
	return fmt.Sprintf("%d hosts, %d switches%s, %d links; Open vSwitch %s, %s datapath", hosts, count, where, len(r.lab.Links), r.env.OpenVSwitch,
		map[string]string{ovs.DatapathKernel: "kernel", ovs.DatapathUserspace: "userspace"}[r.env.Datapath]), nil
}

// makeHosts makes the network namespaces of all hosts, and counts them.
func (r *raising) makeHosts() (int, error) {
	hosts := 0
	for _, n := range r.lab.Nodes {
		if n.Kind != topo.KindHost {
			continue
		}
		hosts++
		if r.containers == nil { // else it is that of the host's container
			if err := netns.Create(n.Name); err != nil {
				return 0, err
			}
		}
		if err := netns.Do(n.Name, func() error { return r.tune(n) }); err != nil {
			return 0, err
		}
	}
	return hosts, nil
}

// makeMachines makes the network namespaces of isolated switches, joins them,
// and says where and how each takes the connection of the controller.
func (r *raising) makeMachines(all []*vswitch) error {
	plan, err := planMachines(r.lab)
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := netns.Create(v.Name); err != nil {
			return err
		}
		if err := link.Quiet(v.Name); err != nil {
			return err
		}
	}
	if err := plan.join(); err != nil {
		return err
	}
	files, err := certify(r.lab.Name, all)
	if err != nil {
		return err
	}
	for i, v := range all {
		v.Files = files[i]
		v.bridges[0].Listen = fmt.Sprintf("pssl:%d:%s", openFlowPort, plan.management.Stations[i].Addr.Addr())
	}
	return nil
}

// startSwitches starts all instances, and returns the datapath to use.
func (r *raising) startSwitches(ctx context.Context, all []*vswitch) (datapath string, err error) {
	kinds := make([]string, len(all))
	err = each(ctx, all, func(ctx context.Context, v *vswitch) error {
		kind, err := r.startSwitch(ctx, v)
		if err != nil && v.Name != "" {
			return fmt.Errorf("switch %s: %w", v.Name, err)
		}
		kinds[slices.Index(all, v)] = kind
		return err
	})
	return kinds[0], err // one machine, one kernel: all are the same
}

func (r *raising) startSwitch(ctx context.Context, v *vswitch) (datapath string, err error) {
	daemons, err := v.Daemons(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range daemons {
		if d.Name == v.SwitchName() {
			d.Started = tell(v.restarted)
		}
		if err := r.procs.Start(d); err != nil {
			return "", err
		}
		if err := v.WaitDatabase(ctx); err != nil {
			return "", err
		}
	}
	if v.db, err = v.Open(ctx); err != nil {
		return "", err
	}
	return v.db.Initialise(ctx)
}

// furnish makes the bridges of an instance. The devices of its ports must be
// there.
func (r *raising) furnish(ctx context.Context, v *vswitch) error {
	if err := v.db.AddBridges(ctx, r.env.Datapath, v.bridges); err != nil {
		return err
	}
	if err := r.tuneSwitch(ctx, v, r.pidOf(v.SwitchName())); err != nil {
		return err
	}
	return v.db.HoldRestarted(ctx)
}

// atOnce is how many instances are worked on at the same time: they wait for
// each other's processor time, and for their own daemons.
const atOnce = 16

// each does something with all instances, several at a time, until one fails.
func each(ctx context.Context, all []*vswitch, do func(context.Context, *vswitch) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, v := range all {
		g.Go(func() error { return do(ctx, v) })
	}
	return g.Wait()
}
