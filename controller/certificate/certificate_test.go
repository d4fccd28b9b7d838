package certificate_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/certificate"
)

func authority(t *testing.T, name string, until time.Duration) *certificate.Authority {
	t.Helper()
	now := time.Now()
	begin := now
	if until < 0 {
		begin = now.Add(2 * until)
	}
	a, err := certificate.NewAuthority(name, begin, now.Add(until))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *certificate.Authority, name string) (cert, key []byte) {
	t.Helper()
	cert, key, err := a.Issue(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// files are those of a controller of that lab.
func files(t *testing.T, a *certificate.Authority) certificate.Files {
	t.Helper()
	cert, key := issue(t, a, "controller")
	return certificate.Files{CA: write(t, "ca.pem", a.PEM()), Certificate: write(t, "cert.pem", cert), Key: write(t, "key.pem", key)}
}

// handshake lets a controller with these files meet the switch s1, which
// shows a certificate, trusts clients that a CA has signed, and sends a byte.
func handshake(t *testing.T, f certificate.Files, cert, key []byte, clients *certificate.Authority, later time.Duration) error {
	t.Helper()
	id, err := certificate.Load(f, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(clients.PEM())
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-served })
	go func() {
		defer close(served)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{1}) // the client tells what happened
	}()
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, id.Client("s1", func() time.Time { return time.Now().Add(later) }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestSwitchesAreChecked(t *testing.T) {
	lab, other := authority(t, "lab", time.Hour), authority(t, "other", time.Hour)
	f := files(t, lab)
	for _, c := range []struct {
		name     string
		ca       *certificate.Authority
		shown    string
		later    time.Duration
		clients  *certificate.Authority
		want     string // of the error; empty: it is good
		mistrust bool
	}{
		{"good", lab, "s1", 0, lab, "", false},
		{"another CA", other, "s1", 0, lab, `its certificate "s1", issued by "other", does not fit the CA in ` + f.CA, true},
		{"another switch", lab, "s2", 0, lab, `its certificate is that of s2, and "s1" is expected`, true},
		{"expired", lab, "s1", 2 * time.Hour, lab, `its certificate "s1" expired on `, true},
		{"not valid yet", lab, "s1", -3 * time.Hour, lab, `its certificate "s1" is valid from `, true},
		{"the switch mistrusts", lab, "s1", 0, other, "remote error", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, key := issue(t, c.ca, c.shown)
			err := handshake(t, f, cert, key, c.clients, c.later)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if errors.Is(err, certificate.ErrUntrusted) != c.mistrust || certificate.Refused(err) == c.mistrust {
				t.Errorf("untrusted %v, refused %v: %v", errors.Is(err, certificate.ErrUntrusted), certificate.Refused(err), err)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	lab, old := authority(t, "lab", time.Hour), authority(t, "old", -time.Hour)
	good, stale := files(t, lab), files(t, old)
	both := good
	both.CA = write(t, "both.pem", append(old.PEM(), lab.PEM()...))
	if _, err := certificate.Load(both, time.Now()); err != nil {
		t.Errorf("one CA of two is valid: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(*certificate.Files)
		want   []string
	}{
		{"no CA", func(f *certificate.Files) { f.CA = "" }, []string{"ca is missing"}},
		{"missing file", func(f *certificate.Files) { f.Key = "/nonexistent/key.pem" }, []string{"key: ", "/nonexistent/key.pem", "no such file"}},
		{"a folder", func(f *certificate.Files) { f.CA = "/" }, []string{"is no file"}},
		{"no certificate", func(f *certificate.Files) { f.Certificate = f.Key }, []string{good.Key, "holds no certificate"}},
		{"broken", func(f *certificate.Files) {
			f.CA = write(t, "x.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, []string{"certificate 1: "}},
		{"the key of another", func(f *certificate.Files) { f.Key = stale.Key }, []string{"the key in " + stale.Key + " does not fit the certificate in " + good.Certificate}},
		{"expired CA", func(f *certificate.Files) { f.CA = stale.CA }, []string{stale.CA, `the CA's certificate "old" expired on 20`, " UTC, and it is 20"}},
		{"expired", func(f *certificate.Files) { f.Certificate = stale.Certificate }, []string{stale.Certificate, `the controller's certificate "controller" expired on 20`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good
			c.change(&f)
			_, err := certificate.Load(f, time.Now())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
		})
	}
}
