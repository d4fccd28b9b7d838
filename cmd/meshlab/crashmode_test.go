//go:build integration

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
)

// crashMode is what the lab of a round runs on.
type crashMode struct {
	name    string
	lab     string   // name or path
	address string   // that the load asks, from the client
	flags   []string // of `up`
	socket  string   // of the engine; "": none
}

func (m crashMode) String() string { return m.name }

// crashModes lists the modes that -crash.on names; with the socket of an engine
// those on Docker too.
func crashModes(t *testing.T, p person, socket string) []crashMode {
	t.Helper()
	_, source, err := labs.Load("hashicups", builtin.Names())
	if err != nil {
		t.Fatal(err)
	}
	const atClient = "192.168.1.250:9190" // the frontend
	file := func(name, switches string) string {
		text := strings.Replace(string(source), "\nname: hashicups\n", "\nname: hashicups\nswitches: "+switches+"\n", 1)
		if name == "tunnels" {
			text = strings.NewReplacer(`"s3:1"]`, `"s3:1"]`+"\n    tunnel: vxlan", `"s3:2"]`, `"s3:2"]`+"\n    tunnel: vxlan").Replace(text)
		}
		return p.writeFile(t, name+".yaml", text)
	}
	shared, isolated, tunnels := file("shared", "shared"), file("isolated", "isolated"), file("tunnels", "isolated")
	all := []crashMode{
		{name: "namespaces/shared", lab: shared, address: atClient},
		{name: "namespaces/isolated", lab: isolated, address: atClient},
		{name: "namespaces/tunnels", lab: tunnels, address: atClient},
	}
	if socket != "" {
		onDocker := []string{"--runtime", "docker"}
		all = append(all,
			crashMode{name: "docker/shared", lab: shared, address: atClient, flags: onDocker, socket: socket},
			crashMode{name: "docker/isolated", lab: isolated, address: atClient, flags: onDocker, socket: socket})
	}
	modes := slices.DeleteFunc(all, func(m crashMode) bool { return !strings.Contains(m.name, *crashOn) })
	if len(modes) == 0 {
		t.Fatalf("no mode of this machine has %q in its name", *crashOn)
	}
	return modes
}

// inventory is what the mode can leave behind beside the machine's own.
func (m crashMode) inventory(t *testing.T) []string {
	t.Helper()
	if m.socket == "" {
		return nil
	}
	return engineInventory(t, m.socket)
}

// verb is a verb at work beside the test.
type verb struct {
	args  []string
	cmd   *exec.Cmd
	text  bytes.Buffer // that it has printed; to be read when it has ended
	ended chan struct{}
}

// start types a verb.
func (c *crash) start(t *testing.T, args ...string) *verb {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*verbLimit)
	v := &verb{args: args, cmd: c.command(ctx, args...), ended: make(chan struct{})}
	v.cmd.Stdout, v.cmd.Stderr = &v.text, &v.text
	stdin, err := v.cmd.StdinPipe() // open as long as the verb runs
	if err == nil {
		err = v.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.ended)
		defer cancel()
		_ = v.cmd.Wait() // how it ended is looked at below
		_ = stdin.Close()
	}()
	c.verbs = append(c.verbs, v)
	return v
}

// wait waits for the end of the verb.
func (v *verb) wait(limit time.Duration) error {
	select {
	case <-v.ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("meshlab %s has not ended after %v", strings.Join(v.args, " "), limit)
	}
}

// ok tells whether a verb that has ended has succeeded.
func (v *verb) ok() bool { return v.cmd.ProcessState.Success() }
