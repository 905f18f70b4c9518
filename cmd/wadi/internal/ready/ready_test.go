package ready

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// run runs the command and returns its error.
func run(t *testing.T, args ...string) error {
	t.Helper()
	cmd := Command()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	return cmd.ExecuteContext(t.Context())
}

// agent answers /readyz with the status and the text, and nothing else; it returns its address.
func agent(t *testing.T, status int, text string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if _, err := fmt.Fprintln(w, text); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestReadyAsksTheAgentOfTheEnvironment(t *testing.T) {
	address := agent(t, http.StatusOK, "ok")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// A proxy that is not there: it must not be asked.
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for _, listen := range []string{address, "0.0.0.0:" + port, ":" + port} {
		t.Setenv("WADI_HTTP_LISTEN", listen)
		if err := run(t); err != nil {
			t.Errorf("WADI_HTTP_LISTEN=%s: %v", listen, err)
		}
	}
}

func TestReadySaysWhyNot(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	// It takes connections, as the kernel does for a process that hangs, and never answers.
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hangs.Close() }()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"it drains":   {[]string{"--http-listen", agent(t, http.StatusServiceUnavailable, "draining")}, "is not ready: draining"},
		"it is gone":  {[]string{"--http-listen", closed.Addr().String()}, "no agent answers: "},
		"it hangs":    {[]string{"--http-listen", hangs.Addr().String(), "--timeout", "50ms"}, "deadline exceeded"},
		"no address":  {[]string{"--http-listen", "localhost"}, "--http-listen: "},
		"no time":     {[]string{"--timeout", "0s"}, "--timeout: want more than 0"},
		"an argument": {[]string{"now"}, `"now" is one argument too many`},
	} {
		if err := run(t, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestDialable(t *testing.T) {
	for listen, want := range map[string]string{
		"localhost:8080": "localhost:8080", ":8080": "localhost:8080", "0.0.0.0:1": "localhost:1", "[::]:1": "localhost:1",
		"10.0.0.1:8080": "10.0.0.1:8080", "[::1]:8080": "[::1]:8080",
	} {
		if got, err := dialable(listen); got != want || err != nil {
			t.Errorf("%s: got %s, %v; want %s", listen, got, err, want)
		}
	}
}
