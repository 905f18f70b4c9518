package group

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
)

// call is one request on its way through its group.
type call struct {
	// apply changes the group and returns the answer, nil to wait for other
	// members. It may be called again, on another state of the group.
	apply func(g *machine.Group, env machine.Env) kmsg.Response
	// later answers a waiting request from a later state; nil: it still waits.
	later func(g *machine.Group) kmsg.Response
	// refuse makes the answer that carries the code.
	refuse func(code int16) kmsg.Response
	// member is whom the request shows to be alive, "" for nobody.
	member string
	// quick, of heartbeats alone, answers that all is well and nothing changes, from a state
	// that may have been the newest a moment ago, and only reads it; nil: apply finds out.
	quick func(g *machine.Group, env machine.Env) kmsg.Response

	// parked is called when the request begins to wait: apply is not called again, so
	// that what only it needs may go. It may be nil, and called again.
	parked func()

	reply chan kmsg.Response
	// abandoned: the client left, nobody waits for the answer.
	abandoned atomic.Bool
}

// answer gives the call its answer, unless it has one.
func (k *call) answer(resp kmsg.Response) {
	select {
	case k.reply <- resp:
	default:
	}
}

// Waiting is what a request that may wait for minutes gets from its connection.
type Waiting struct {
	// Gone is closed when the client left.
	Gone <-chan struct{}
	// Release gives the request's bytes back to the memory budget before it is
	// answered. It may be called more than once, and need not be called.
	Release func()
}

// begin hands the call to its group. The returned function waits for the answer; it
// returns nil when the client left before there was one (gone is closed), or ctx ended.
func (c *Coordinator) begin(ctx context.Context, group string, gone <-chan struct{}, k *call) (wait func() kmsg.Response) {
	k.reply = make(chan kmsg.Response, 1)
	l := c.submit(group, k)
	if l == nil {
		return func() kmsg.Response { return k.refuse(kerr.NotCoordinator.Code) }
	}
	return func() kmsg.Response {
		select {
		case resp := <-k.reply:
			return resp
		case <-gone:
		case <-ctx.Done():
		}
		l.abandon(k)
		select {
		case resp := <-k.reply:
			return resp
		default:
			return nil
		}
	}
}

// run is begin for a call that waits for no other members: it always has an
// answer, unless its connection is torn down.
func run[Resp kmsg.Response](ctx context.Context, c *Coordinator, group string, k *call) Resp {
	resp, ok := c.begin(ctx, group, nil, k)().(Resp)
	if !ok {
		// The connection ends: nobody reads this.
		return k.refuse(kerr.CoordinatorNotAvailable.Code).(Resp)
	}
	return resp
}

// codeOf returns the error of an answer as a whole.
func codeOf(resp kmsg.Response) int16 {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return r.ErrorCode
	}
	return 0
}

// alive tells whether the answer says that its member belongs to the group: it
// waits, or is well, or is asked to join again.
func alive(resp kmsg.Response) bool {
	if resp == nil {
		return true
	}
	code := codeOf(resp)
	return code == 0 || code == kerr.RebalanceInProgress.Code
}
