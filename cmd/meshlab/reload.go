package main

import (
	"os"
	"reflect"
	"slices"
	"strings"

	"log/slog"

	"meshlab.dev/meshlab/controller"
)

// fixed are the keys that a running controller does not take on, because
// other processes know it by them, or because what depends on them is made
// once.
func fixed() []string {
	return []string{"fabric", "datapaths", "datapath_type", "dns", "metrics", "traces", "status", "standby", "log_format", "kubernetes"}
}

// reload reads the file again. A bad one is reported, and the settings in
// force stay.
func (d *daemon) reload() {
	d.notify.reloading()
	defer d.notify.send(notifyReady)
	next, err := d.load()
	if err == nil {
		err = usable(next)
	}
	if err != nil {
		d.log.Error("the configuration was not read again; the one in force stays", "file", d.file, "error", err)
		return
	}
	old, _ := d.settings()
	taken, left := merge(&next, old)
	d.mu.Lock()
	d.cfg = next
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	d.level.Set(slog.Level(next.LogLevel))
	d.log.Info("the configuration was read again", "file", d.file, "changed", taken)
	if len(left) > 0 {
		d.log.Warn("part of the configuration changes with the next start only", "keys", left)
	}
}

// merge puts the old values of the keys that are fixed into next, and names
// the keys that have changed: those that next keeps, and those that it lost.
func merge(next *controller.FileConfig, old controller.FileConfig) (taken, left []string) {
	never := fixed()
	if next.Static() != old.Static() { // another kind of network
		never = append(never, "vip", "hairpin", "vip_mac", "bridges", "ovsdb", "node")
	}
	if old.Kubernetes != nil { // tunnels and registrations are of these
		never = append(never, "bridges", "ovsdb", "node")
		if (old.Consul == nil) != (next.Consul == nil) { // another registry
			never = append(never, "consul", "default_policy")
		}
	}
	to, from := reflect.ValueOf(next).Elem(), reflect.ValueOf(old)
	for i := range to.NumField() {
		key, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ",")
		switch {
		case reflect.DeepEqual(to.Field(i).Interface(), from.Field(i).Interface()):
		case slices.Contains(never, key):
			to.Field(i).Set(from.Field(i))
			left = append(left, key)
		default:
			taken = append(taken, key)
		}
	}
	return taken, left
}

// networkSettings and registrySettings pick what a watch depends on, the
// content of files among it.
func networkSettings(c controller.FileConfig) any {
	return []any{c.Network(), c.Bridges, c.OVSDB, c.Node, consulSettings(c)}
}

func registrySettings(c controller.FileConfig) any { return []any{c.DefaultPolicy, consulSettings(c)} }

func consulSettings(c controller.FileConfig) any {
	if c.Consul == nil {
		return nil
	}
	all := []any{*c.Consul}
	for _, path := range []string{c.Consul.TokenFile, c.Consul.CAFile, c.Consul.CertFile, c.Consul.KeyFile} {
		text, err := os.ReadFile(path)
		if err != nil {
			text = nil // the client will tell
		}
		all = append(all, string(text))
	}
	return all
}
