//go:build integration

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

// crashMode is what the lab of a round runs on.
type crashMode struct {
	name    string
	lab     string   // name or path
	address string   // that the load asks, from the client
	bench   []string // a lab, and what of it bench is done with soon
	flags   []string // of `up` and `bench`
	engine  *dockertest.Server
}

func (m crashMode) String() string { return m.name }

// crashModes lists the modes that -crash.on names; with an engine those on
// Docker too.
func crashModes(t *testing.T, p person, engine *dockertest.Server) []crashMode {
	t.Helper()
	const atClient = "192.168.1.250:9190" // the frontend
	file := func(lab, name, switches string) string {
		_, source, err := labs.Load(lab, builtin.Names())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(source), "\nname: "+lab+"\n", "\nname: "+lab+"\nswitches: "+switches+"\n", 1)
		if name == "tunnels" {
			text = strings.NewReplacer(`"s3:1"]`, `"s3:1"]`+"\n    tunnel: vxlan", `"s3:2"]`, `"s3:2"]`+"\n    tunnel: vxlan").Replace(text)
		}
		return p.writeFile(t, name+".yaml", text)
	}
	shared, isolated, tunnels := file("hashicups", "shared", "shared"), file("hashicups", "isolated", "isolated"), file("hashicups", "tunnels", "isolated")
	quick := []string{"single-upstream", "--only", "web"}
	quickIsolated := append([]string{file(quick[0], "quick", "isolated")}, quick[1:]...)
	all := []crashMode{
		{name: "namespaces/shared", lab: shared, address: atClient, bench: quick},
		{name: "namespaces/isolated", lab: isolated, address: atClient, bench: quickIsolated},
		{name: "namespaces/tunnels", lab: tunnels, address: atClient, bench: []string{tunnels, "--only", "frontend"}},
	}
	if engine != nil {
		onDocker := []string{"--runtime", "docker"}
		all = append(all,
			crashMode{name: "docker/shared", lab: shared, address: atClient, bench: quick, flags: onDocker, engine: engine},
			crashMode{name: "docker/isolated", lab: isolated, address: atClient, bench: quickIsolated, flags: onDocker, engine: engine})
	}
	modes := slices.DeleteFunc(all, func(m crashMode) bool { return !strings.Contains(m.name, *crashOn) })
	if len(modes) == 0 {
		t.Fatalf("no mode of this machine has %q in its name", *crashOn)
	}
	return modes
}

// seesLeftovers makes sure that what a lab could leave in the engine would be
// seen, an image without a tag among it.
func (m crashMode) seesLeftovers(t *testing.T) {
	t.Helper()
	before := m.inventory(t)
	m.ask(t, http.MethodPost, "/images/create?fromSrc=-", "application/x-tar", string(make([]byte, 1024))) // an archive of nothing
	m.ask(t, http.MethodPost, "/volumes/create", "application/json", `{"Name":"left"}`)
	left := difference(before, m.inventory(t))
	if len(left) != 2 || !strings.HasPrefix(left[0], "+ image ") || !strings.HasPrefix(left[1], "+ volume ") {
		t.Fatalf("an image without a tag and a volume are left, and seen are %q", left)
	}
	m.ask(t, http.MethodPost, `/images/prune?filters={"dangling":["true"]}`, "", "")
	m.ask(t, http.MethodDelete, "/volumes/left", "", "")
}

// ask asks the engine for something that it must not refuse.
func (m crashMode) ask(t *testing.T, method, path, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://engine/v1.41"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := engineClient(m.engine.Socket()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, said, err)
	}
}

// ourImage matches that in an inventory, and finds its name.
var ourImage = regexp.MustCompile(`^image .*\[(meshlab:[0-9a-f]+)\]$`)

// inventory is what the mode can leave behind beside the machine's own.
func (m crashMode) inventory(t *testing.T) []string {
	t.Helper()
	if m.engine == nil {
		return nil
	}
	all := slices.DeleteFunc(engineInventory(t, m.engine.Socket()), ourImage.MatchString) // it stays
	for _, line := range m.engine.Mounts(t) {
		all = append(all, "mount of the engine "+line)
	}
	for _, dir := range m.engine.Cgroups(t) {
		all = append(all, "control group "+dir)
	}
	return all
}

// removeImage removes our image, so that the next lab has to build it.
func (m crashMode) removeImage(t *testing.T) {
	t.Helper()
	for _, line := range engineInventory(t, m.engine.Socket()) {
		if tag := ourImage.FindStringSubmatch(line); tag != nil {
			m.ask(t, http.MethodDelete, "/images/"+tag[1], "", "")
		}
	}
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
