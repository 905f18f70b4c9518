package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// resetAttempts bounds how often members are put out of a group, for a commit
// that comes before they are back. Each time only those are left that came back within
// milliseconds, so more than a few are needed by nobody but crowds.
const resetAttempts = 20

// reset is one `wadi group reset` at work.
type reset struct {
	client *bootstrap.Client
	name   string
	force  bool
	note   func(format string, args ...any)
	// group is what the last look found; the zero value where it does not exist.
	group  described
	exists bool
}

// look describes the group anew.
func (r *reset) look(ctx context.Context) error {
	found, err := find(ctx, r.client, r.name)
	if err != nil {
		return err
	}
	r.group, r.exists = found[r.name]
	if len(r.group.Members) > 0 && r.group.ProtocolType != "consumer" {
		return fmt.Errorf("resetting group %s: its members are of the protocol type %s and read no topics by it", r.name, r.group.ProtocolType)
	}
	return nil
}

// advice says how to go on after a dry run.
func (r *reset) advice() string {
	how := "add --execute to commit these offsets"
	if len(r.group.Members) > 0 {
		how += fmt.Sprintf("; the group has %s, so stop its consumers first, or add --force", output.Plural(len(r.group.Members), "member"))
	}
	if !r.exists {
		how += "; the group does not exist, and would be made"
	}
	return "nothing was changed; " + how
}

// execute commits the changes, while nobody is in the group.
//
// The coordinator takes a commit from outside only for a group without
// members. So those are put out first; where one is back before the commit is there, which
// then fails as a whole, both are repeated.
func (r *reset) execute(ctx context.Context, changes []change) error {
	fenced := map[string]bool{}
	for range resetAttempts {
		if n := len(r.group.Members); n > 0 {
			if !r.force {
				return fmt.Errorf("resetting group %s: it has %s (%s); stop its consumers, or add --force, which puts them out of the group until the offsets are committed", r.name, output.Plural(n, "member"), r.group.State)
			}
			if err := fence(ctx, r.client, r.name, r.group.Members); err != nil {
				return err
			}
			for _, m := range r.group.Members {
				fenced[m.MemberID] = true
			}
		}
		again, err := r.commit(ctx, changes)
		if err != nil {
			return err
		}
		if !again {
			r.note("committed %s of group %s\n", output.Plural(len(changes), "offset"), r.name)
			if len(fenced) > 0 {
				r.note("%s put out of the group; on joining again, they go on from these offsets\n", were(len(fenced)))
			}
			return nil
		}
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("resetting group %s: its members come back faster than offsets can be committed (%d attempts); nothing was committed; stop some of them and try again", r.name, resetAttempts)
}

func were(members int) string {
	if members == 1 {
		return "1 member was"
	}
	return fmt.Sprintf("%d members were", members)
}

// commit commits the changes. It reports whether to do it again, because the
// group had members when the commit came.
func (r *reset) commit(ctx context.Context, changes []change) (again bool, err error) {
	ctx, cancel := r.client.Bound(ctx)
	defer cancel()
	offsets := kadm.Offsets{}
	for _, c := range changes {
		offsets.Add(kadm.Offset{Topic: c.topic, Partition: c.partition.partition, At: c.new, LeaderEpoch: -1, Metadata: c.metadata})
	}
	responses, err := r.client.Admin.CommitOffsets(ctx, r.name, offsets)
	if err != nil {
		return false, r.client.Explain("committing offsets of group "+r.name, err, "")
	}
	failed := failures{}
	refused, committed := 0, 0
	for _, c := range changes {
		response, ok := responses.Lookup(c.topic, c.partition.partition)
		switch {
		case !ok:
			failed.add(c.partition, errors.New("the broker's answer has nothing on it"))
		case hasMembers(response.Err):
			refused++
			failed.add(c.partition, response.Err)
		case response.Err != nil:
			failed.add(c.partition, response.Err)
		default:
			committed++
		}
	}
	if refused == len(changes) {
		return true, nil
	}
	var reasons []error
	for partitions, err := range failed.each() {
		reasons = append(reasons, r.client.Explain(fmt.Sprintf("committing offsets of group %s in %s", r.name, partitions), err, ""))
	}
	if len(reasons) > 0 && committed > 0 {
		reasons = append(reasons, fmt.Errorf("all others of group %s are committed (%d)", r.name, committed))
	}
	return false, errors.Join(reasons...)
}

// hasMembers reports whether a commit from outside was refused because the
// group has members.
func hasMembers(err error) bool {
	for _, refusal := range []error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.StaleMemberEpoch, kerr.RebalanceInProgress} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
