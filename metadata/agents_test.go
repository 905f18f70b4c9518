package metadata

import (
	"reflect"
	"testing"
	"time"
)

// thisVersion is what a row of this version says. Agents of other versions read it, so what is there stays as
// it is, and others may be added.
const thisVersion = `{"listeners":[{"name":"PLAINTEXT","host":"::1","port":9092}],"peer":"h:9093","roles":["produce","jobs"],"version":"v1.2.3",` +
	`"started_at":1700000000123,"state":"slow","load":{"connections":1,"bytes_in":2,"bytes_out":3,"put_ns":4,"commit_ns":5,"memory_bytes":6},"schema":10}`

func TestAgentsOfOtherVersionsShareARegister(t *testing.T) {
	listeners := []Listener{{Name: DefaultListener, Host: "::1", Port: 9092}}
	self := Agent{
		Listeners: listeners, Peer: "h:9093", Roles: []string{"produce", "jobs"}, Version: "v1.2.3", StartedAt: time.UnixMilli(1_700_000_000_123), State: Slow,
		Load: AgentLoad{Connections: 1, BytesIn: 2, BytesOut: 3, Put: 4, Commit: 5, MemoryBytes: 6},
	}
	if details, err := self.Details(10); err != nil || string(details) != thisVersion {
		t.Errorf("a row says %s, %v, want %s", details, err, thisVersion)
	}
	for name, c := range map[string]struct {
		details string
		want    Agent
	}{
		"this": {thisVersion, self},
		// Which knew of no details.
		"oldest": {"{}", Agent{Listeners: []Listener{{Name: DefaultListener, Host: "host", Port: 1}}, State: Serving, StartedAt: time.UnixMilli(0)}},
		"newer": {
			`{"listeners":[{"name":"PLAINTEXT","host":"::1","port":9092,"tls":true}],"roles":["shares"],"state":"resting","load":{"cpu":0.5},"started_at":0,"more":{}}`,
			Agent{Listeners: listeners, Roles: []string{"shares"}, State: "resting", StartedAt: time.UnixMilli(0)},
		},
	} {
		var got Agent
		if err := got.SetDetails([]byte(c.details), "host", 1); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if err := new(Agent).SetDetails([]byte(`{"state":1}`), "host", 1); err == nil {
		t.Error("a row that can't be read is no error")
	}
}

func FuzzAgentDetails(f *testing.F) {
	for _, seed := range []string{thisVersion, "{}", "null", "", `{"listeners":[{}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, details []byte) {
		var a, b Agent
		if a.SetDetails(details, "host", 1) != nil {
			return
		}
		if len(a.Listeners) == 0 {
			t.Error("an agent without listeners")
		}
		again, err := a.Details(1)
		if err == nil {
			err = b.SetDetails(again, "other", 2)
		}
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%q is %+v, and that is %+v, %v", details, a, b, err)
		}
	})
}
