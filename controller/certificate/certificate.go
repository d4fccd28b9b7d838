// Package certificate is TLS between a controller and its switches: it reads
// what the controller shows from files, checks what a switch shows, and makes
// the certificates of a lab. What is said over the connections, it does not
// know.
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Files are the paths of three PEM files.
type Files struct {
	CA          string // certificates that sign those of switches
	Certificate string // that the controller shows, and those between it and a CA
	Key         string // of Certificate
}

// Identity is how the controller shows who it is, and who may sign for
// switches. It is immutable.
type Identity struct {
	ca    string // file, for errors
	roots *x509.CertPool
	own   tls.Certificate
}

// maxFile is how much of a PEM file is read, in bytes: some 500 certificates.
const maxFile = 1 << 20

// Load reads the files. Its errors name the file, and the dates of a
// certificate that is not valid now.
func Load(f Files, now time.Time) (*Identity, error) {
	id := &Identity{ca: f.CA, roots: x509.NewCertPool()}
	text, err := read("ca", f.CA)
	if err != nil {
		return nil, err
	}
	cas, err := parse(f.CA, text)
	if err != nil {
		return nil, err
	}
	valid := false
	var stale error
	for _, c := range cas {
		if err := current(c, now); err != nil {
			stale = fmt.Errorf("%s: the CA's certificate %q %w", f.CA, c.Subject.CommonName, err)
			continue
		}
		valid = true
		id.roots.AddCert(c)
	}
	if !valid {
		return nil, stale
	}
	text, err = read("certificate", f.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := read("key", f.Key)
	if err != nil {
		return nil, err
	}
	chain, err := parse(f.Certificate, text)
	if err != nil {
		return nil, err
	}
	if err := current(chain[0], now); err != nil {
		return nil, fmt.Errorf("%s: the controller's certificate %q %w", f.Certificate, chain[0].Subject.CommonName, err)
	}
	if id.own, err = tls.X509KeyPair(text, key); err != nil {
		return nil, fmt.Errorf("the key in %s does not fit the certificate in %s: %w; compare `openssl pkey -pubout -in` of the one with `openssl x509 -pubkey -noout -in` of the other", f.Key, f.Certificate, err)
	}
	return id, nil
}

func read(what, path string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%s is missing: write the path of a PEM file", what)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %s is no file of at most %d bytes", what, path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return text, nil
}

// parse gives the certificates of a PEM file, at least one. Blocks of other
// kinds are left out.
func parse(path string, text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate: it needs a PEM block that begins with -----BEGIN CERTIFICATE-----", path)
	}
	return all, nil
}

// current tells, as the end of a sentence, that a certificate is not valid now.
func current(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("expired on %s, and it is %s", date(c.NotAfter), date(now))
	case now.Before(c.NotBefore):
		return fmt.Errorf("is valid from %s, and it is %s: does the clock go right?", date(c.NotBefore), date(now))
	}
	return nil
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ErrUntrusted says that what a switch shows does not prove who it is.
var ErrUntrusted = errors.New("the switch does not prove who it is")

// Client is the configuration of a connection to the switch of that name. The
// handshake fails with ErrUntrusted unless the switch shows a certificate that
// a CA has signed for servers, that is valid at the time of the handshake, and
// whose common name or one of whose alternative names is this name.
//
// TLS 1.2 is the least (RFC 8996).
func (id *Identity) Client(name string, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Among Certificates it would choose by the CAs that the switch names,
		// and show none, without a word, when it names another one.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.own, nil },
		// The common check looks for a host name in the alternative names.
		// Certificates of Open vSwitch (ovs-pki(8)) have their name as the
		// common name, so the check is made below.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := id.check(s.PeerCertificates, name, now()); err != nil {
				return fmt.Errorf("%w: %w", ErrUntrusted, err)
			}
			return nil
		},
	}
}

func (id *Identity) check(chain []*x509.Certificate, name string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("it shows no certificate")
	}
	leaf := chain[0]
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if err := current(leaf, now); err != nil {
		return fmt.Errorf("its certificate %.64q %w", leaf.Subject.CommonName, err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: id.roots, Intermediates: between, CurrentTime: now}); err != nil {
		return fmt.Errorf("its certificate %.64q, issued by %.64q, does not fit the CA in %s: %w", leaf.Subject.CommonName, leaf.Issuer.CommonName, id.ca, err)
	}
	if !slices.Contains(names(leaf), name) {
		return fmt.Errorf("its certificate is that of %.200s, and %q is expected: give the switch its own with ovs-vsctl set-ssl, or write that name as `name` of its tls",
			strings.Join(names(leaf), ", "), name)
	}
	return nil
}

// names are those that a certificate is for.
func names(c *x509.Certificate) []string {
	all := append([]string{c.Subject.CommonName}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Refused tells whether err is that the other side has refused what this one
// showed, or the way it speaks: an alert (RFC 8446, section 6).
func Refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" // as crypto/tls names alerts
}
