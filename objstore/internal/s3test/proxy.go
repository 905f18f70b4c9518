package s3test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// proxy stands before a real server and can answer in its place.
type proxy struct {
	mu     sync.Mutex
	inject func(w http.ResponseWriter, r *http.Request) (answered bool) // nil for none; guarded by mu
	pass   *httputil.ReverseProxy
}

// newProxy returns a proxy without faults, and the target behind it.
func newProxy(t *testing.T) (*proxy, Target) {
	t.Helper()
	p, target := unstartedProxy(t)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	target.Endpoint = strings.TrimPrefix(server.URL, "http://")
	return p, target
}

// TLS returns a bucket behind TLS, and the certificate to trust, in PEM.
func TLS(t *testing.T) (Target, []byte) {
	t.Helper()
	p, target := unstartedProxy(t)
	server := httptest.NewTLSServer(p)
	t.Cleanup(server.Close)
	target.Endpoint = strings.TrimPrefix(server.URL, "https://")
	return target, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func unstartedProxy(t *testing.T) (*proxy, Target) {
	t.Helper()
	target := Fresh(t)
	behind := &url.URL{Scheme: "http", Host: target.Endpoint}
	transport := &http.Transport{DisableCompression: true}
	p := &proxy{pass: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host // is signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return p, target
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	inject := p.inject
	p.mu.Unlock()
	if inject != nil && inject(w, r) {
		return
	}
	p.pass.ServeHTTP(w, r)
}

func (p *proxy) set(inject func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inject = inject
}

// failNext answers the next n requests of the method itself. It counts only
// requests for objects and listings, not minio-go's question for the region.
func (p *proxy) failNext(n int, method string, answer http.HandlerFunc) {
	var mu sync.Mutex
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		failing := n > 0 && r.Method == method && !r.URL.Query().Has("location")
		if failing {
			n--
		}
		mu.Unlock()
		if failing {
			answer(w, r)
		}
		return failing
	})
}

// xmlError answers as S3 does.
func xmlError(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>a message</Message></Error>`, code) // the client may hang up
	}
}
