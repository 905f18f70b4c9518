package machine

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quicklyOrNot answers a heartbeat in full, and checks what the quick way has to say before: it leaves the group as it is, and if
// it answers, then the full way answers the same and changes nothing either.
func (w *world) quicklyOrNot(g *Group, env Env, quick, full func() kmsg.Response) kmsg.Response {
	w.Helper()
	before, due := w.encode(g), g.Due(env)
	early := quick()
	if now := w.encode(g); !bytes.Equal(now, before) || !g.Due(env).Equal(due) {
		w.fail("the quick way changed the group from\n%s\nto\n%s", before, now)
	}
	resp := full()
	if early == nil {
		return resp
	}
	w.quick++
	if now := w.encode(g); !bytes.Equal(now, before) {
		w.fail("answered quickly, but in full it changes the group from\n%s\nto\n%s", before, now)
	}
	if !reflect.DeepEqual(early, resp) {
		w.fail("answered quickly %+v, in full %+v", early, resp)
	}
	return resp
}

func (w *world) encode(g *Group) []byte {
	w.Helper()
	b, err := g.Encode()
	if err != nil {
		w.fail("%v", err)
	}
	return b
}

// orNil makes a nil response of some kind a nil Response.
func orNil[Resp any, PResp interface {
	*Resp
	kmsg.Response
}](resp PResp) kmsg.Response {
	if resp == nil {
		return nil
	}
	return resp
}

// TestQuickConsumerHeartbeats: what members of a stable group say nearly always is answered quickly, and nothing else.
func TestQuickConsumerHeartbeats(t *testing.T) {
	instance, other, regex := "i", "j", "t.*"
	stable := func() (*Group, Env) {
		g, env := New("g"), Env{Now: epoch, Limits: consumerLimits(), Topics: topics("t:4")}
		for _, id := range []string{"m", "static"} {
			options := []beatOption{joins("t")}
			if id == "static" {
				options = append(options, static(instance))
			}
			g.ConsumerGroupHeartbeat(env, Client{}, "join "+id, beatRequest(id, 0, options...))
		}
		for range 3 { // m gives up two partitions, static gets them
			for _, id := range []string{"m", "static"} {
				g.ConsumerGroupHeartbeat(env, Client{}, "r", beatRequest(id, g.Consumer.Members[id].Epoch, owning(g.Consumer.Members[id].Assigned)))
			}
		}
		if g.Info().Phase != Stable {
			t.Fatalf("%+v", g.Consumer)
		}
		return g, env
	}
	for name, test := range map[string]struct {
		change func(g *Group, env *Env)
		req    func(req *kmsg.ConsumerGroupHeartbeatRequest)
		want   bool
	}{
		"nothing new":           {want: true},
		"what it has":           {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = beatRequest("m", 1, owning(nil)).Topics }, want: true},
		"what it subscribes to": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"t"} }, want: true},
		"a static member": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberID, r.InstanceID = "static", &instance
		}, want: true},
		"an older catalog": {change: func(_ *Group, env *Env) { env.Topics = catalog{seq: 0} }, want: true},

		"another instance":     {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.InstanceID = "static", &other }},
		"another subscription": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"u"} }},
		"a regular expression": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &regex }},
		"everything": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			full := beatRequest("m", r.MemberEpoch, joins("t"), owning(nil))
			*r = *full
			r.RebalanceTimeoutMillis = 300_000
		}},
		"it joins":            {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 0 }},
		"it leaves":           {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = leaveEpoch }},
		"a former epoch":      {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch-- }},
		"an epoch to come":    {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch++ }},
		"nobody":              {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "x" }},
		"an unknown assignor": {req: func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &other }},
		"the same request":    {change: func(g *Group, _ *Env) { g.Consumer.Members["m"].LastRequest = "new" }},
		"a newer catalog":     {change: func(_ *Group, env *Env) { env.Topics = topics("t:4").with("u:1") }},
		"another session":     {change: func(_ *Group, env *Env) { env.Limits.ConsumerSessionTimeout++; env.Limits.ConsumerSessionTimeout *= 2 }},
		"a target to compute": {change: func(g *Group, _ *Env) { g.Consumer.Epoch++ }},
		"a target to reach":   {change: func(g *Group, _ *Env) { g.Consumer.Epoch++; g.Consumer.TargetEpoch++ }},
		"a classic group":     {change: func(g *Group, _ *Env) { g.Consumer, g.Classic = nil, newClassic() }},
		"no group":            {change: func(g *Group, _ *Env) { g.Consumer = nil }},
	} {
		g, env := stable()
		req := beatRequest("m", g.Consumer.Members["m"].Epoch)
		if test.change != nil {
			test.change(g, &env)
		}
		if test.req != nil {
			test.req(req)
		}
		w := &world{TB: t}
		var resp kmsg.Response
		w.quicklyOrNot(g, env,
			func() kmsg.Response { resp = orNil(g.QuickConsumerHeartbeat(env, "new", req)); return resp },
			func() kmsg.Response { return g.ConsumerGroupHeartbeat(env, Client{}, "new", req) })
		if (resp != nil) != test.want {
			t.Errorf("%s: answered quickly %+v, want that it is %v", name, resp, test.want)
		}
	}
}
