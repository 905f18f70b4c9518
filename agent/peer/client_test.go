package peer

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// newZone is a client of an agent in a zone of those node IDs, which may change.
func newZone(t *testing.T, self int32, nodeIDs *[]int32) *Client {
	members := func() (int32, []Member) {
		var list []Member
		for _, id := range *nodeIDs {
			list = append(list, Member{NodeID: id, Address: fmt.Sprintf("agent-%d:9093", id)})
		}
		return self, list
	}
	c := NewClient(members, identity(t, secret), NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	return c
}

// ownerOf is the node ID of the owner, 0 for the agent itself.
func ownerOf(c *Client, file, part int) int32 {
	if p := c.Owner(fileNumber(file), int64(part)); p != nil {
		return p.member.NodeID
	}
	return 0
}

func fileNumber(n int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)) }

// TestOwnersArePinned fails when the hash changes: during an upgrade, agents of two releases must agree.
func TestOwnersArePinned(t *testing.T) {
	nodeIDs := []int32{3, 1, 5, 2, 4}
	c := newZone(t, 9, &nodeIDs)
	var got []int32
	for file := range 4 {
		for part := range 3 {
			got = append(got, ownerOf(c, file, part))
		}
	}
	if want := []int32{1, 2, 3, 4, 5, 4, 2, 3, 5, 4, 5, 1}; !slices.Equal(got, want) {
		t.Errorf("owners are %v, want %v", got, want)
	}
}

func TestAllAgentsAgreeOnOwners(t *testing.T) {
	nodeIDs := []int32{1, 2, 3}
	var zone []*Client
	for _, self := range nodeIDs {
		zone = append(zone, newZone(t, self, &nodeIDs))
	}
	owned := map[int32]int{}
	const files = 3000
	for file := range files {
		var owner int32
		for i, c := range zone {
			id := ownerOf(c, file, 0)
			if id == 0 {
				id = nodeIDs[i]
			}
			if i > 0 && id != owner {
				t.Fatalf("file %d: agents name %d and %d", file, owner, id)
			}
			owner = id
		}
		owned[owner]++
	}
	for id, n := range owned {
		if n < files/3*9/10 || n > files/3*11/10 {
			t.Errorf("agent %d owns %d of %d files", id, n, files)
		}
	}
}

func TestAMemberThatComesTakesItsShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodeIDs := []int32{1, 2, 3}
		c := newZone(t, 1, &nodeIDs)
		const files = 3000
		before := make([]int32, files)
		for file := range before {
			before[file] = ownerOf(c, file, 0)
		}
		kept := c.Owner(fileNumber(slices.Index(before, 2)), 0)
		nodeIDs = append(nodeIDs, 4)
		time.Sleep(lookEvery)
		moved := 0
		for file, was := range before {
			switch now := ownerOf(c, file, 0); {
			case now == 4:
				moved++
			case now != was:
				t.Fatalf("file %d moved from agent %d to %d", file, was, now)
			}
		}
		if moved < files/4*9/10 || moved > files/4*11/10 {
			t.Errorf("%d of %d files moved to the fourth agent", moved, files)
		}
		// Who stays is the same peer, of which it is known how it fares.
		if c.zone[kept.member] != kept {
			t.Error("an agent that stayed was taken for a new one")
		}
		c.Close()
	})
}

func TestAloneAnAgentOwnsEverything(t *testing.T) {
	for _, nodeIDs := range [][]int32{nil, {7}} {
		c := newZone(t, 7, &nodeIDs)
		for file := range 100 {
			if id := ownerOf(c, file, 0); id != 0 {
				t.Fatalf("members %v: agent %d owns a file", nodeIDs, id)
			}
		}
	}
}
