package peer

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"
)

// handshake connects a client to a server and says how it went for each.
func handshake(t *testing.T, client, server *tls.Config) (clients, servers error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
	var both sync.WaitGroup
	both.Go(func() {
		b, err := ln.Accept()
		if err != nil {
			servers = err
			return
		}
		defer b.Close()
		conn := tls.Server(b, server)
		if servers = conn.HandshakeContext(t.Context()); servers == nil {
			_, servers = conn.Write([]byte("hello"))
		}
	})
	both.Go(func() {
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			clients = err
			return
		}
		defer a.Close()
		conn := tls.Client(a, client)
		if clients = conn.HandshakeContext(t.Context()); clients == nil {
			_, clients = conn.Read(make([]byte, 5)) // only then has the server checked the client
		}
	})
	both.Wait()
	return clients, servers
}

func TestAgentsOfOneSecretAcceptEachOther(t *testing.T) {
	one, other := identity(t, secret), identity(t, secret)
	if clients, servers := handshake(t, one.client(), other.server()); clients != nil || servers != nil {
		t.Error(clients, servers)
	}
	if bytes.Equal(one.certificate.Certificate[0], other.certificate.Certificate[0]) {
		t.Error("two agents have one certificate")
	}
}

func TestNobodyElseIsAccepted(t *testing.T) {
	good, stranger := identity(t, secret), identity(t, bytes.Repeat([]byte{1}, 32))
	nobody := good.client()
	nobody.Certificates = nil
	old := good.client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	trusting := stranger.client() // shows a certificate of another authority, and checks nothing
	trusting.InsecureSkipVerify = true
	elsewhere := good.client()
	elsewhere.ServerName = "agent-1"
	for name, c := range map[string]struct{ client, server *tls.Config }{
		"a client of another cluster": {stranger.client(), good.server()},
		"a server of another cluster": {good.client(), stranger.server()},
		"a client without identity":   {nobody, good.server()},
		"a client that checks nobody": {trusting, good.server()},
		"a client of TLS 1.2":         {old, good.server()},
		"a client for another name":   {elsewhere, good.server()},
	} {
		clients, servers := handshake(t, c.client, c.server)
		if clients == nil {
			t.Errorf("%s is accepted (server: %v)", name, servers)
		}
	}
}

// TestASecretIsOneAuthority: agents of any version make the same of a secret, since their certificates must fit.
func TestASecretIsOneAuthority(t *testing.T) {
	one, key, err := newAuthority(secret)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := newAuthority(secret)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Raw, other.Raw) {
		t.Error("two authorities of one secret differ")
	}
	const want = "7fc1781f4d07dbadbad3b7d99054e98d5a85bd7386c188abaa6e90ac09ebe78c"
	if got := hexOf(key.Seed()); got != want {
		t.Errorf("the authority's seed is %s, want %s", got, want)
	}
}
