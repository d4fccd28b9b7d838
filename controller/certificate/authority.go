package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Authority signs the certificates of a lab. It lives in memory: when it is
// gone, nobody can sign for the lab any more. It may be used by several
// goroutines.
type Authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	expires time.Time
}

// early is how long before now certificates begin to be valid, as clocks
// differ.
const early = time.Hour

// NewAuthority makes a CA of that name whose certificates are valid until
// expires.
func NewAuthority(name string, now, expires time.Time) (*Authority, error) {
	if name == "" || !expires.After(now) {
		return nil, errors.New("make CA: it needs a name, and an end that is yet to come")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	a := &Authority{key: key, expires: expires}
	template, err := a.template(name, now)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return a, nil
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Issue makes a key, and a certificate with which a switch or a controller of
// that name may show who it is. Both are PEM.
func (a *Authority) Issue(name string, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	template, err := a.template(name, now)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{name}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

func (a *Authority) template(name string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // at most 20 bytes, RFC 5280, section 4.1.2.2
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-early), NotAfter: a.expires}, nil
}
