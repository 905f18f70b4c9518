package machine

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a state, indented, with a file that people can read. What is there is in databases: a change
// must still read what was written before.
func golden(t *testing.T, name string, g *Group) {
	t.Helper()
	b, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: the state is\n%s\nwant\n%s", path, got.Bytes(), want)
	}
	read, err := Decode(g.ID, want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := read.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%s: read and encoded again it is\n%s (%v)", path, again, err)
	}
}

func TestClassicStateAsStored(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", instance("i1")))
	f.wantParked(f.join("", version(3), protocol("range", "t"), alsoProtocol("roundrobin", "t")))
	golden(t, "classic_joining.json", f.group())
	f.pass(2 * limits.InitialRebalanceDelay)
	f.wantAssigned(f.sync("m1", 1, "m1", "0,1", "m2", "2,3"), "0,1")
	f.join("")
	golden(t, "classic_stable.json", f.group())
	if b := string(f.encode(New("g"))); b != "{}" {
		t.Errorf("a group that nobody joined is %s", b)
	}
}

func TestDecodeRefuses(t *testing.T) {
	member := func(id, more string) string {
		return `{"id":"` + id + `","session_timeout_ms":1,"rebalance_timeout_ms":1,"heard":"2026-05-01T12:00:00Z","protocols":[{"name":"range"}]` + more + `}`
	}
	classic := func(state, more string, members ...string) string {
		return `{"classic":{"state":"` + state + `","generation":1,"protocol_type":"consumer","protocol":"range","leader":"a","members":[` + strings.Join(members, ",") + `]` + more + `}}`
	}
	if _, err := Decode("g", []byte(classic(Stable, "", member("a", ""), member("b", `,"instance_id":"i"`)))); err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]string{
		"nothing":                   ``,
		"not JSON":                  `x`,
		"more than one":             `{}{}`,
		"rest":                      `{} x`,
		"both protocols":            `{"classic":{"state":"Empty"},"consumer":{}}`,
		"no state":                  `{"classic":{}}`,
		"unknown state":             classic("Dead", ""),
		"empty with members":        classic(Empty, "", member("a", "")),
		"stable without members":    classic(Stable, ""),
		"null member":               classic(Stable, "", "null"),
		"member without ID":         classic(Stable, "", member("a", ""), member("", "")),
		"member twice":              classic(Stable, "", member("a", ""), member("a", "")),
		"member that is pending":    classic(Stable, `,"pending":[{"id":"a"}]`, member("a", "")),
		"pending twice":             classic(Stable, `,"pending":[{"id":"b"},{"id":"b"}]`, member("a", "")),
		"instance twice":            classic(Stable, "", member("a", `,"instance_id":"i"`), member("b", `,"instance_id":"i"`)),
		"joining when stable":       classic(Stable, "", member("a", `,"joining":true`)),
		"leader is no member":       classic(Stable, "", member("b", "")),
		"protocol not supported":    strings.Replace(classic(Stable, "", member("a", "")), `"protocol":"range"`, `"protocol":"other"`, 1),
		"no protocol in common":     classic(PreparingRebalance, "", member("a", ""), strings.Replace(member("b", ""), "range", "other", 1)),
		"members without a type":    strings.Replace(classic(Stable, "", member("a", "")), `"consumer"`, `""`, 1),
		"time that is none":         strings.Replace(classic(Stable, "", member("a", "")), `2026-05`, `2026-55`, 1),
		"assignment not in base 64": classic(Stable, "", member("a", `,"assignment":"!"`)),
	} {
		if _, err := Decode("g", []byte(state)); err == nil || !strings.Contains(err.Error(), `"g"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: no bytes make Decode or what follows panic, and what it accepts survives being written.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(paths, err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Decode("g", b)
		if err != nil {
			return
		}
		once, err := g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if g, err = Decode("g", once); err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		if again, err := g.Encode(); err != nil || !bytes.Equal(once, again) {
			t.Fatalf("%s\nencoded again\n%s (%v)", once, again, err)
		}
		if g.Consumer != nil && g.Consumer.Epoch > math.MaxInt32-100 {
			return // no group lives that long
		}
		env := Env{Now: epoch, Limits: consumerLimits(), Topics: topics("t:3", "u:1")}
		for _, id := range g.Members() {
			if g.Consumer != nil {
				beat := beatRequest(id, g.Consumer.Members[id].Epoch, subscribes("t"), owning(nil))
				if beat.MemberEpoch >= 0 {
					g.ConsumerGroupHeartbeat(env, Client{}, "request", beat)
				}
			}
			if b, err = g.Encode(); err != nil {
				t.Fatal(err)
			}
			if _, err := Decode("g", b); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			join, sync := joinRequest(id), syncRequest(id, 1)
			g.JoinGroup(env, Client{}, "", join)
			g.JoinAnswer(join, id)
			g.SyncGroup(env, sync)
			g.SyncAnswer(sync)
			if err := g.CheckCommit(env, "nobody", nil, 1, 9); err == nil {
				t.Fatalf("nobody may commit: %s", once)
			}
		}
		g.JoinGroup(env, Client{}, "new", joinRequest("", version(3)))
		g.JoinGroup(env, Client{}, "newer", joinRequest("", instance("i1")))
		g.ConsumerGroupHeartbeat(env, Client{}, "", beatRequest("newest", 0, joins("t"), matching("u")))
		g.DescribeConsumer(env)
		g.Tick(env)
		if due := g.Due(env); !due.IsZero() && !due.After(env.Now) {
			t.Fatalf("due at %v after a tick at %v", due, env.Now)
		}
		g.Subscribed("t")
		g.OffsetExpired(env.Now, time.Hour, "t", epoch, time.Time{})
		g.DescribeClassic(6)
		b, err = g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode("g", b); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	})
}

func TestDescribeClassic(t *testing.T) {
	inStates(t, func(f *fixture, state string) {
		g := f.group()
		d := g.DescribeClassic(6)
		if state == "unknown" {
			state = Empty // used for its offsets only
		}
		wantProtocol, wantAssignment := "", ""
		if state == Stable {
			wantProtocol = "range"
		}
		if state == Stable || state == PreparingRebalance {
			wantAssignment = "a"
		}
		if d.ErrorCode != 0 || d.Group != "g" || d.State != state || d.Protocol != wantProtocol || len(d.Members) != len(g.Members()) {
			f.Fatalf("%+v", d)
		}
		for _, m := range d.Members[:min(1, len(d.Members))] {
			if m.MemberID != "m1" || *m.InstanceID != "i1" || m.ClientID != "client" || m.ClientHost != "/10.0.0.1" ||
				m.MemberAssignment == nil || string(m.MemberAssignment) != wantAssignment ||
				m.ProtocolMetadata == nil || (len(m.ProtocolMetadata) > 0) != (state == Stable) {
				f.Fatalf("%+v", m)
			}
		}
		c := g.DescribeConsumer(f.env)
		if c.Group != "g" || c.ErrorCode != kerr.GroupIDNotFound.Code || c.ErrorMessage == nil {
			f.Fatalf("%+v", c)
		}
	})
}

func TestClientNamesAreMadeStorable(t *testing.T) {
	f := newFixture(t)
	f.change(func(g *Group) {
		g.JoinGroup(f.env, Client{ID: "a\xffb", Host: "\xff"}, "m", joinRequest("", version(3)))
	})
	if m := f.group().Classic.Members[0]; m.ClientID != "a\uFFFDb" {
		t.Fatalf("%+v", m)
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.SessionTimeoutMillis = 3, 10000
	if resp := f.group().JoinGroup(f.env, Client{}, "\xff", req); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Fatalf("%+v", resp)
	}
}
