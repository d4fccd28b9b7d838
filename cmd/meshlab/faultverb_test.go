//go:build integration

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/fault"
)

// TestFaultVerb breaks each kind of thing in a lab, sees that requests feel
// it, and that they are answered again when the fault has ended.
func TestFaultVerb(t *testing.T) {
	l := root(t).up(t, "outage", "hashicups")
	l.strikes(t, map[string]strike{
		"kill a service":    {[]string{"kill", "product-api"}, "", true},
		"kill the database": {[]string{"kill", "product-db"}, "", true},
		"kill a host":       {[]string{"kill", "h2"}, "(consul@h2, product-api, h2-s1)", true},
		"kill the switches": {[]string{"kill", "ovs-vswitchd"}, "", true},
		"kill controller":   {[]string{"kill", "controller"}, "", false},
		"kill an agent":     {[]string{"kill", "consul@h2"}, "", false},
		"pause a service":   {[]string{"pause", "public-api"}, "", true},
		"pause the backend": {[]string{"pause", "product-db"}, "", true},
		"cut a cable":       {[]string{"cut", "s2-db1"}, "(db1-s2)", true},
		"cut between":       {[]string{"cut", "s1-s3"}, "", true},
		"degrade":           {[]string{"degrade", "s1-h2", "--loss", "100%"}, "(h2-s1)", true},
		"partition":         {[]string{"partition", "s1,s3", "s2"}, "(s2-s3)", true},
	})

	t.Run("ends by itself", func(t *testing.T) {
		var e fault.Entry
		decode(t, l.ok(t, "fault", "kill", "product-api", "--for", "1s", "--lab", l.name, "--output", "json"), &e)
		if !e.On() || e.Until == nil || l.coffees(t) == nil {
			t.Errorf("it is not on: %+v", e)
		}
		eventually(t, patience, func() error {
			var all []fault.Entry
			decode(t, l.ok(t, "fault", "list", "--lab", l.name, "--output", "json"), &all)
			if e = all[len(all)-1]; e.On() {
				return errors.New("it is on")
			}
			return nil
		})
		if took := e.Ended.Sub(e.Began); took < time.Second {
			t.Errorf("it ended after %v", took)
		}
		l.answered(t)
	})

	t.Run("what cannot be", func(t *testing.T) {
		for _, tc := range []struct {
			args []string
			code int
			want []string
		}{
			{[]string{"kill", "s1"}, exitFailed, []string{"one process, ovs-vswitchd", "switches: isolated"}},
			{[]string{"kill", "payment"}, exitFailed, []string{"no process and no node", "payments"}},
			{[]string{"cut", "h1-h2"}, exitFailed, []string{`no link "h1-h2"`, "h1-s1"}},
			{[]string{"partition", "s1,s2", "s2"}, exitUsage, []string{"s2 is in both groups"}},
			{[]string{"partition", "s1", "s2"}, exitFailed, []string{"s3 would still join them"}},
			{[]string{"degrade", "h1-s1"}, exitUsage, []string{"state delay, jitter, loss or bandwidth"}},
			{[]string{"degrade", "h1-s1", "--loss", "5"}, exitUsage, []string{"--loss", "5%"}},
			{[]string{"undo"}, exitUsage, []string{"--all"}},
			{[]string{"undo", "99"}, exitFailed, []string{"no such fault", "meshlab fault list"}},
			{[]string{"kill", "payments", "--for", "25h"}, exitUsage, []string{"24h"}},
		} {
			l.fails(t, tc.code, append(append([]string{"fault"}, tc.args...), "--lab", l.name), tc.want...)
		}
	})

	t.Run("down while faults are on", func(t *testing.T) {
		l.ok(t, "fault", "pause", "h1", "--for", "0", "--lab", l.name)
		l.ok(t, "fault", "kill", "controller", "--for", "0", "--lab", l.name)
		l.ok(t, "fault", "partition", "s1,s3", "s2", "--for", "0", "--lab", l.name)
		l.ok(t, "down", l.name)
	})
}

// The same on containers, with a switch for each machine: what is struck there
// is the container of a process, a cable into a container, and the Open vSwitch
// of one switch.
func TestFaultVerbOnContainers(t *testing.T) {
	p, _ := withDocker(t)
	l := p.up(t, "outage", p.writeFile(t, "outage.yaml", machines(t, true)), "--runtime", "docker")
	l.strikes(t, map[string]strike{
		"kill a service":  {[]string{"kill", "product-api"}, "", true},
		"kill a host":     {[]string{"kill", "h2"}, "(consul@h2, product-api, h2-s1)", true},
		"pause a service": {[]string{"pause", "product-db"}, "", true},
		"cut a cable":     {[]string{"cut", "s2-db1"}, "(db1-s2)", true},
		"kill a switch":   {[]string{"kill", "s2"}, "(ovs-vswitchd@s2, ovsdb-server@s2)", true},
		"partition":       {[]string{"partition", "s1,s3", "s2"}, "(s2-s3, s1-s2)", true},
	})
	t.Run("logs and ps tell of it", func(t *testing.T) {
		l.ok(t, "fault", "pause", "payments", "--for", "0", "--lab", l.name)
		if text := l.ok(t, "ps", "--lab", l.name); !matchesLine(text, "payments .* paused") {
			t.Error(text)
		}
		if text := l.ok(t, "logs", "payments", "--lab", l.name); !strings.Contains(text, "listening") {
			t.Error(text)
		}
	})
	t.Run("down while faults are on", func(t *testing.T) {
		l.ok(t, "fault", "kill", "s2", "--for", "0", "--lab", l.name)
		l.ok(t, "down", l.name)
	})
}

// strike is a fault on hashicups.
type strike struct {
	args   []string
	struck string // what more than the target
	felt   bool   // by a request for the coffees
}

// strikes lets each fault begin and end.
func (l lab) strikes(t *testing.T, all map[string]strike) {
	for name, tc := range all {
		t.Run(name, func(t *testing.T) {
			l.answered(t)
			begun := l.ok(t, append(append([]string{"fault"}, tc.args...), "--for", "0", "--lab", l.name)...)
			if !strings.Contains(begun, strings.Join(tc.args, " ")) || !strings.Contains(begun, tc.struck) {
				t.Errorf("it says %q", begun)
			}
			switch err := l.coffees(t); {
			case tc.felt && err == nil:
				t.Error("the request was answered all the same")
			case !tc.felt && err != nil:
				t.Errorf("the request felt it: %v", err)
			}
			again := append(append([]string{"fault"}, tc.args...), "--lab", l.name)
			l.fails(t, exitFailed, again, "under a fault already", "meshlab fault undo")
			if ended := l.ok(t, "fault", "undo", "--all", "--lab", l.name); !strings.Contains(ended, "has ended, after") {
				t.Errorf("it says %q", ended)
			}
			l.answered(t)
		})
	}
}

// answered waits until the lab of a shop works.
func (l lab) answered(t *testing.T) {
	t.Helper()
	// Consul finds a node that it held for failed within 30 s
	// (ReconnectInterval of Serf's DefaultConfig).
	eventually(t, 90*time.Second, func() error { return l.coffees(t) })
}

// coffees asks for them once.
func (l lab) coffees(t *testing.T) error {
	t.Helper()
	menu, err := l.prices(t, "client", "http://192.168.1.250:9191/api")
	if err == nil && len(menu) != 9 {
		err = fmt.Errorf("%d coffees", len(menu))
	}
	return err
}
