package group

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// fenceConcurrency is how many members of the consumer protocol are put out
// at a time; that protocol has no request for more than one.
const fenceConcurrency = 16

// fence puts the members out of the group. They learn of it by their next
// heartbeat, join again and read what is committed then. A member that has left by
// itself meanwhile is no error.
func fence(ctx context.Context, client *bootstrap.Client, group string, members []member) error {
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	var classic, consumer []member
	for _, m := range members {
		if m.Protocol == classicProtocol {
			classic = append(classic, m)
		} else {
			consumer = append(consumer, m)
		}
	}
	if err := fenceClassic(ctx, client, group, classic); err != nil {
		return err
	}
	return fenceConsumer(ctx, client, group, consumer)
}

// fenceClassic sends one LeaveGroup for all members (KIP-345).
func fenceClassic(ctx context.Context, client *bootstrap.Client, group string, members []member) error {
	if len(members) == 0 {
		return nil
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, m := range members {
		leave := kmsg.NewLeaveGroupRequestMember()
		leave.MemberID, leave.InstanceID, leave.Reason = m.MemberID, m.InstanceID, kmsg.StringPtr("offsets are being reset")
		req.Members = append(req.Members, leave)
	}
	response, err := req.RequestWith(ctx, client.Client)
	if err != nil {
		return client.Explain("putting members out of group "+group, err, "")
	}
	failures := []error{ignoreGone(kerr.ErrorForCode(response.ErrorCode))}
	for _, m := range response.Members {
		failures = append(failures, ignoreGone(kerr.ErrorForCode(m.ErrorCode)))
	}
	return client.Explain("putting members out of group "+group, errors.Join(failures...), "")
}

// fenceConsumer sends a last heartbeat in the name of each member (KIP-848).
func fenceConsumer(ctx context.Context, client *bootstrap.Client, group string, members []member) error {
	failures := make([]error, len(members))
	var running sync.WaitGroup
	slots := make(chan struct{}, fenceConcurrency)
	for i, m := range members {
		slots <- struct{}{}
		running.Go(func() {
			failures[i] = leaveConsumer(ctx, client, group, m)
			<-slots
		})
	}
	running.Wait()
	return errors.Join(failures...)
}

func leaveConsumer(ctx context.Context, client *bootstrap.Client, group string, m member) error {
	const leaves = -1 // for good; -2 would keep the place of a static member
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = group, m.MemberID, m.InstanceID, leaves
	response, err := req.RequestWith(ctx, client.Client)
	message := ""
	if err == nil {
		err = ignoreGone(kerr.ErrorForCode(response.ErrorCode))
		if response.ErrorMessage != nil {
			message = *response.ErrorMessage
		}
	}
	return client.Explain("putting member "+m.MemberID+" out of group "+group, err, message)
}

// ignoreGone drops errors that say that the member is not there: it left, its
// session ended, or its group went. A static member may have come back under another
// member ID: the next look at the group finds that.
func ignoreGone(err error) error {
	for _, gone := range []error{kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.GroupIDNotFound} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}
