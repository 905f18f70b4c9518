package machine

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCheckCommit(t *testing.T) {
	for _, test := range []struct {
		name, memberID, instanceID string
		generation                 int32
		// unknown, Empty, PreparingRebalance, CompletingRebalance, Stable
		want, wantTxn [5]*kerr.Error
	}{
		{"without a group", "", "", -1,
			[5]*kerr.Error{nil, nil, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}, [5]*kerr.Error{}},
		{"member", "m2", "", 1,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, nil, kerr.RebalanceInProgress, nil},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, nil, nil, nil}},
		{"static member", "m1", "i1", 1,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, nil, kerr.RebalanceInProgress, nil},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, nil, nil, nil}},
		{"another generation", "m2", "", 0,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"member without a generation", "m2", "", -1,
			[5]*kerr.Error{nil, nil, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration},
			[5]*kerr.Error{nil, nil, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"generation without a member", "", "", 1,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"another's instance ID", "m2", "i1", 1,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID}},
		{"pending", "p", "", 1,
			[5]*kerr.Error{kerr.GroupIDNotFound, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID},
			[5]*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			inStates(t, func(f *fixture, state string) {
				var instanceID *string
				if test.instanceID != "" {
					instanceID = &test.instanceID
				}
				g := f.group()
				f.wantErr(g.CheckCommit(f.env, test.memberID, instanceID, test.generation, 9), test.want[n])
				old := test.want[n]
				if old == kerr.GroupIDNotFound {
					old = kerr.IllegalGeneration // to clients that don't know it
				}
				f.wantErr(g.CheckCommit(f.env, test.memberID, instanceID, test.generation, 8), old)
				f.wantErr(g.CheckTxnCommit(f.env, test.memberID, instanceID, test.generation), test.wantTxn[n])
				f.wantErr(g.CheckFetch(&test.memberID, test.generation), nil)
				n++
			})
		})
	}
}

func (f *fixture) wantErr(got, want *kerr.Error) {
	f.Helper()
	if got != want {
		f.Fatalf("%v, want %v: %s", got, want, f.state)
	}
}

func TestCheckDelete(t *testing.T) {
	inStates(t, func(f *fixture, state string) {
		want := kerr.NonEmptyGroup
		if state == "unknown" || state == Empty {
			want = nil
		}
		g := f.group()
		f.wantErr(g.CheckDelete(), want)
		f.wantErr(g.CheckDeleteOffsets(), nil)
		if want != nil {
			g.Classic.ProtocolType = "connect"
			f.wantErr(g.CheckDeleteOffsets(), want)
		}
		// Who is pending will be here in a moment.
		if empty := g.Empty(); empty != (state == "unknown") {
			f.Fatalf("empty: %v: %s", empty, f.state)
		}
	})
	f := newFixture(t)
	f.change(func(g *Group) { g.JoinGroup(f.env, Client{}, "p", joinRequest("")) })
	f.pass(sessionTimeout)
	if !f.group().Empty() {
		t.Fatalf("not empty: %s", f.state)
	}
}

func TestSubscribed(t *testing.T) {
	none := func([]byte) []byte { return nil }
	for _, test := range []struct {
		name         string
		protocolType string
		metadata     func(subscription []byte) []byte
		t, u         bool
	}{
		{"consumer", "consumer", nil, true, false},
		{"another type", "connect", nil, false, false},
		{"no metadata", "consumer", none, true, true},
		{"cut off", "consumer", func(b []byte) []byte { return b[:5] }, true, true},
		{"negative version", "consumer", func(b []byte) []byte { return append([]byte{255, 255}, b[2:]...) }, true, true},
		{"unknown version, unknown rest", "consumer", func(b []byte) []byte { return append([]byte{0, 99}, b[2:]...) }, true, false},
		{"version 0", "consumer", func([]byte) []byte {
			m := kmsg.ConsumerMemberMetadata{Topics: []string{"t"}}
			return m.AppendTo(nil)
		}, true, false},
		{"a length that lies", "consumer", func([]byte) []byte { return []byte{0, 0, 127, 255, 255, 255} }, true, true},
	} {
		f := newFixture(t)
		want := func(wantT, wantU bool) {
			t.Helper()
			if g := f.group(); g.Subscribed("t") != wantT || g.Subscribed("u") != wantU {
				t.Errorf("%s: subscribed to t: %v, to u: %v in %s", test.name, g.Subscribed("t"), g.Subscribed("u"), f.state)
			}
		}
		want(false, false)
		f.join("", version(3), func(req *kmsg.JoinGroupRequest) {
			req.ProtocolType = test.protocolType
			if test.metadata != nil {
				req.Protocols[0].Metadata = test.metadata(req.Protocols[0].Metadata)
			}
		})
		consumer := test.protocolType == "consumer"
		want(consumer, consumer) // until a protocol is chosen
		f.pass(limits.InitialRebalanceDelay)
		want(test.t, test.u)
		f.wantError(f.leave("m1"), nil)
		want(false, false)
	}
}

func TestOffsetExpired(t *testing.T) {
	const retention = 24 * time.Hour
	long := epoch.Add(-retention - time.Hour)
	f := newFixture(t)
	want := func(topic string, committedAt, expireAt time.Time, want bool) {
		t.Helper()
		if got := f.group().OffsetExpired(f.env.Now, retention, topic, committedAt, expireAt); got != want {
			t.Errorf("an offset of %s, committed %v, to expire %v, expired at %v: %v in %s", topic, committedAt, expireAt, f.env.Now, got, f.state)
		}
	}
	// A group that is only used for its offsets.
	want("t", epoch.Add(-retention), time.Time{}, true)
	want("t", epoch.Add(-retention+1), time.Time{}, false)
	want("t", long, epoch.Add(1), false)
	want("t", epoch, epoch, true)

	f.stable(1)
	want("t", long, time.Time{}, false)
	want("t", long, epoch, false)
	want("u", long, time.Time{}, true)
	want("u", long, f.env.Now.Add(1), false)
	f.wantParked(f.join("", version(3)))
	want("u", long, time.Time{}, false) // who knows what they will want

	f.wantError(f.leave("m1"), nil)
	f.wantError(f.leave("m2"), nil)
	f.wantPhase(Empty)
	want("t", long, time.Time{}, false) // unused only since the group is empty
	want("t", long, f.env.Now, true)
	f.env.Now = f.env.Now.Add(retention)
	want("t", long, time.Time{}, true)

	// Others than consumers don't say what they use.
	f = newFixture(t)
	f.wantParked(f.join("", version(3), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" }))
	f.pass(limits.InitialRebalanceDelay)
	req := syncRequest("m1", 1)
	req.ProtocolType = kmsg.StringPtr("connect")
	f.wantAssigned(f.syncWith(req), "")
	want("u", long, time.Time{}, false)
}
