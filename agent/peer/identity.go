package peer

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

const (
	// serverName is what every agent's certificate is for: not where an agent listens
	// counts, but that it knows the secret.
	serverName = "wadi-peer"
	// authorityInfo tells this use of the cluster's secret from any other.
	authorityInfo = "wadi peer authority v1"
)

// Certificates are valid at any time that a clock may show. They live no longer than the process, and who
// has the secret can make others, so dates would only shut out agents whose clocks are wrong.
var (
	notBefore = time.Unix(0, 0)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280: no expiration
)

// Identity proves that an agent knows the secret of its cluster, and checks that others do.
type Identity struct {
	certificate tls.Certificate
	authority   *x509.CertPool
}

// NewIdentity makes an identity from the cluster's secret, which must be hard to guess: 32 random bytes.
// Agents with the same secret accept each other, and nobody else.
func NewIdentity(secret []byte) (*Identity, error) {
	authority, key, err := newAuthority(secret)
	if err != nil {
		return nil, fmt.Errorf("make the authority of peers: %w", err)
	}
	certificate, err := newLeaf(authority, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate for peers: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return &Identity{certificate: certificate, authority: pool}, nil
}

// newAuthority makes the certificate and the key that all agents of a cluster share.
func newAuthority(secret []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, authorityInfo, ed25519.SeedSize)
	if err != nil {
		return nil, nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wadi peer authority"}, SubjectKeyId: id[:20],
		NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

// newLeaf makes a certificate with a key of its own.
func newLeaf(authority *x509.Certificate, signer ed25519.PrivateKey) (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, public, signer)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// server is the TLS of a server that answers peers only.
func (i *Identity) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.authority,
	}
}

// client is the TLS of a client that asks peers only.
func (i *Identity) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.certificate},
		RootCAs: i.authority, ServerName: serverName,
	}
}
