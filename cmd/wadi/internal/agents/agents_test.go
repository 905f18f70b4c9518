package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/metadata"
)

var two = []agent.ListedAgent{
	{
		NodeID: 1, Name: "a", Zone: "eu-1", State: metadata.Serving, Roles: []string{"produce", "consume"}, Version: "v1.2.3", AgeSeconds: 93784,
		Listeners: []metadata.Listener{{Name: metadata.DefaultListener, Host: "a", Port: 9092}, {Name: "EXTERNAL", Host: "lb", Port: 9094}},
		Load:      metadata.AgentLoad{Connections: 3, BytesIn: 2 << 20, BytesOut: 100, Put: 12_345_678, Commit: 1_234_567, MemoryBytes: 150 << 20},
	},
	{NodeID: 12, Name: "b", State: metadata.Draining, Listeners: []metadata.Listener{{Name: metadata.DefaultListener, Host: "b", Port: 9092}}, AgeSeconds: 61, Peer: "b:9093", Self: true},
}

// serve answers as an agent does, and returns its address.
func serve(t *testing.T, list []agent.ListedAgent) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/agents", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func run(ctx context.Context, out io.Writer, args ...string) error {
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(out)
	return cmd.ExecuteContext(ctx)
}

func TestTableHasALineForEachAgentAndMarksTheOneAsked(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "--http", serve(t, two)); err != nil {
		t.Fatal(err)
	}
	want := `ID   NAME  STATE     ZONE  ROLES            ADDRESS                    PEER    VERSION  AGE   CONNECTIONS  IN/S    OUT/S  PUT   COMMIT  MEMORY
1    a     serving   eu-1  produce,consume  a:9092,EXTERNAL://lb:9094  -       v1.2.3   1d2h  3            2.0MiB  100B   12ms  1.23ms  150MiB
12*  b     draining  -     -                b:9092                     b:9093  -        1m1s  0            0B      0B     -     -       0B
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

func TestJSONIsWhatTheAgentSaid(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "--http", "http://"+serve(t, two), "--json"); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0]["name"] != "a" || got[0]["load"].(map[string]any)["put_ns"] != 12_345_678. || got[1]["self"] != true {
		t.Errorf("got %v", got)
	}
}

// interrupting ends a command when it has written a number of times.
type interrupting struct {
	after  atomic.Int32
	cancel context.CancelCauseFunc
}

func (i *interrupting) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("ID")) && i.after.Add(-1) == 0 {
		i.cancel(errors.New("interrupted"))
	}
	return len(b), nil
}

func TestEveryListsAgainUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &interrupting{cancel: cancel}
	out.after.Store(3)
	if err := run(ctx, out, "--http", serve(t, two), "--every", "1ms"); err != nil || out.after.Load() > 0 {
		t.Errorf("ended with %v, %d lists early", err, out.after.Load())
	}
}

func TestWhatIsNoAgentIsNamed(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	text := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "hello"); err != nil {
			t.Error(err)
		}
	}))
	defer text.Close()
	for address, want := range map[string]string{
		other.URL: "404", text.URL: "something else than a list", "127.0.0.1:1": "can't reach an agent", "ftp://x": "--http: ", "": "--http: ",
	} {
		if err := run(t.Context(), io.Discard, "--http", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	if err := run(t.Context(), io.Discard, "--every", "-1s"); err == nil || !strings.Contains(err.Error(), "--every") {
		t.Errorf("--every -1s: %v", err)
	}
}

func TestAgesAreShort(t *testing.T) {
	for seconds, want := range map[int64]string{0: "0s", 59: "59s", 61: "1m1s", 3600: "1h0m", 86_399: "23h59m", 86_400: "1d0h"} {
		if got := age(seconds); got != want {
			t.Errorf("%v: got %s, want %s", time.Duration(seconds)*time.Second, got, want)
		}
	}
}
