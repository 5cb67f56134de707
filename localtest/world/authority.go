package world

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"time"
)

// authority signs the certificates of HTTPS clusters. Its own is in file, for
// processes (SSL_CERT_FILE), and in roots.
type authority struct {
	file  string
	roots *x509.CertPool
	cert  *x509.Certificate
	key   crypto.Signer
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a := &authority{key: key, roots: x509.NewCertPool()}
	raw, err := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "eslink localtest"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, key.Public())
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a.roots.AddCert(a.cert)
	f, err := os.CreateTemp("", "eslink-*.pem")
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a.file = f.Name()
	defer f.Close()
	if err := pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: raw}); err != nil {
		a.close()
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return a, nil
}

// certify makes a server's certificate for its names. None of them is that of a
// PrivateLink endpoint, as in the cloud.
func (a *authority) certify(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of %s: %w", names[0], err)
	}
	raw, err := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public())
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}

// sign signs what template says for a year around now, an authority's own by itself.
func (a *authority) sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	now := time.Now()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(now.UnixNano()), now.AddDate(0, -6, 0), now.AddDate(0, 6, 0)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", template.Subject.CommonName, err)
	}
	return raw, nil
}

func (a *authority) close() { os.Remove(a.file) }
