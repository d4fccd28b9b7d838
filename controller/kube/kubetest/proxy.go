package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// proxyProgram is the sidecar that the stand-in for consul-k8s injects.
const proxyProgram = "consul-connect-proxy"

// proxyPort is where sidecars take connections of others (consul-k8s uses it
// for the first service of a pod).
const proxyPort = 20000

// opensWithin is how long the built-in proxy has to take connections. One that
// starts before its certificate is there may wait for ever, and is started
// again.
const opensWithin = 5 * time.Second

// standInProxy registers the service of its pod, with a sidecar, and runs that
// until ctx ends; then it takes the registration back.
func standInProxy(ctx context.Context) error {
	address, err := ownAddress()
	if err != nil {
		return err
	}
	service, socket := os.Getenv("SERVICE"), os.Getenv("CONSUL_SOCKET")
	id := service + "-" + address.String()
	registration, err := proxyRegistration(id, service, address)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	if err := put(ctx, client, "/v1/agent/service/register", registration); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err = runProxy(ctx, os.Getenv("CONSUL"), id, socket, netip.AddrPortFrom(address, proxyPort)); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(again)
		}
	}
	for _, one := range []string{id + "-sidecar-proxy", id} {
		err = errors.Join(err, put(context.WithoutCancel(ctx), client, "/v1/agent/service/deregister/"+one, nil))
	}
	return err
}

func proxyRegistration(id, service string, address netip.Addr) (any, error) {
	type upstream struct {
		DestinationName string
		LocalBindPort   int
	}
	var upstreams []upstream
	for one := range strings.SplitSeq(os.Getenv("UPSTREAMS"), ",") {
		name, text, ok := strings.Cut(one, ":")
		if !ok {
			continue
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", one, err)
		}
		upstreams = append(upstreams, upstream{name, port})
	}
	port, _ := strconv.Atoi(os.Getenv("PORT")) // none: it calls others only
	return map[string]any{
		"ID": id, "Name": service, "Port": port, "Address": address.String(),
		"Connect": map[string]any{"SidecarService": map[string]any{
			"Port": proxyPort, "Address": address.String(),
			"Proxy":  map[string]any{"Upstreams": upstreams, "LocalServiceAddress": "127.0.0.1"},
			"Checks": []map[string]any{{"Name": "listens", "TCP": netip.AddrPortFrom(address, proxyPort).String(), "Interval": "1s"}},
		}},
	}, nil
}

// runProxy runs the proxy once.
func runProxy(ctx context.Context, consul, id, socket string, listens netip.AddrPort) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, consul, "connect", "proxy", "-sidecar-for="+id, "-http-addr=unix://"+socket, "-log-level=warn")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		for end := time.Now().Add(opensWithin); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(again) {
			if conn, err := net.DialTimeout("tcp", listens.String(), time.Second); err == nil {
				conn.Close()
				return
			}
		}
		cancel()
	}()
	err := cmd.Wait()
	cancel()
	<-opened
	return fmt.Errorf("sidecar of %s ended: %w", id, err)
}

func put(ctx context.Context, client *http.Client, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://consul"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s: %s", path, response.Status, text)
	}
	return nil
}

// ownAddress is that of the pod in the cluster's network.
func ownAddress() (netip.Addr, error) {
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		return netip.Addr{}, err
	}
	addresses, err := device.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("eth0 has no IPv4 address")
}
