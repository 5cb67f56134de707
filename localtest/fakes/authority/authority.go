// Package authority signs the certificates of fake services that live behind a
// private link: a root that probes are told to trust, and one that nobody is.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"sync"
	"time"
)

// Quiet is a log for servers whose clients break off on purpose.
var Quiet = log.New(io.Discard, "", 0)

type root struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var trusted, stranger = sync.OnceValue(newRoot), sync.OnceValue(newRoot)

func newRoot() root {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "eslink local root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return root{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)))), key}
}

// PEM is the trusted root's certificate.
func PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted().cert.Raw})
}

// Server is the TLS side of a server that answers to whatever name it is asked
// for, with a certificate of the trusted root or of the other one.
func Server(trust bool) *tls.Config {
	r := stranger()
	if trust {
		r = trusted()
	}
	return &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		t := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: h.ServerName}, DNSNames: []string{h.ServerName},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		raw, err := x509.CreateCertificate(rand.Reader, t, r.cert, &key.PublicKey, r.key)
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, nil
	}}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("authority: " + err.Error())
	}
	return v
}
