//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// imageLab has a service in an image, with a template in its environment and
// one in its command, and limits.
const imageLab = `
name: boxed
nodes:
  h1: { kind: host }
  h2: { kind: host }
  s1: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s1:2"]
services:
  shop:
    node: h1
    port: 8080
    image: example.test/serve:1
    command: ["{{ port }}"]
    environment: { GREETING: 'shop asks {{ upstream "stock" }}' }
    upstreams: { stock: 9091 }
    limits: { cpus: 0.5, memory: 64MiB }
  stock: { node: h2, port: 8081, builtin: echo, environment: { BIND_ADDRESS: ":{{ port }}", NAME: stock } }
client: { node: h2, upstreams: { shop: 9090 } }
requests:
  shop: { to: shop, expect: { contains: ["shop asks 10."] } }
`

const serveSource = `package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", ":"+os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("serving in", len(os.Environ()), "variables")
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			_, _ = c.Read(make([]byte, 4096))
			text := os.Getenv("GREETING")
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
			c.Close()
		}()
	}
}
`

// importImage gives the engine an image of one program, which is its entry
// point.
func importImage(t *testing.T, socket, name, source string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "serve"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "serve"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "serve", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	q := url.Values{"fromSrc": {"-"}, "repo": {name}, "changes": {`ENTRYPOINT ["/serve"]`}}
	resp, err := engineClient(socket).Post("http://engine/v1.41/images/create?"+q.Encode(), "application/x-tar", &archive)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	var said map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said["error"] != nil {
		t.Fatal(said, err)
	}
}

func engineClient(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}

// A lab with an image needs no flag: it is on Docker. The image's service is
// called through the mesh as any other, with its limits.
func TestDockerImage(t *testing.T) {
	p, socket := withDocker(t)
	importImage(t, socket, "example.test/serve:1", serveSource)
	l := p.up(t, "boxed", p.writeFile(t, "boxed.yaml", imageLab))
	if l.status.Runtime != "docker" || l.status.Environment.Docker == "" {
		t.Errorf("runtime %s, Docker %s", l.status.Runtime, l.status.Environment.Docker)
	}
	if text := l.ok(t, "logs", "shop", "--lab", l.name); !strings.Contains(text, "serving in") {
		t.Error(text)
	}
	resp, err := engineClient(socket).Get("http://engine/v1.41/containers/meshlab-boxed.h1.shop/json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var box struct {
		Config     struct{ Labels map[string]string }
		HostConfig struct {
			NanoCpus, Memory int64
			NetworkMode      string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&box); err != nil {
		t.Fatal(err)
	}
	if h := box.HostConfig; h.NanoCpus != 5e8 || h.Memory != 64<<20 || !strings.HasPrefix(h.NetworkMode, "container:") {
		t.Errorf("%+v", h)
	}
	if box.Config.Labels["dev.meshlab.lab"] != "boxed" || box.Config.Labels["dev.meshlab.process"] != "shop" {
		t.Errorf("labels %v", box.Config.Labels)
	}
}
