package group

import (
	"slices"
	"testing"
	"time"
)

// TestOffsetCommittedWhileItsGroupIsCleanedUpStays: the agent has seen that the group
// has neither members nor offsets (all have expired a second ago), and is about to delete it.
func TestOffsetCommittedWhileItsGroupIsCleanedUpStays(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.client("by hand")
	if codes := c.commit(b, 1); !slices.Equal(codes, []int16{0}) {
		t.Fatal(codes)
	}
	a.spy.disturb(func(kind string) error {
		if kind == "delete" {
			if codes := c.commit(b, 2); !slices.Equal(codes, []int16{0}) {
				t.Errorf("the commit is answered %v", codes)
			}
		}
		return nil
	}, nil)
	if err := a.expireGroup(t.Context(), "by hand", -time.Second); err != nil {
		t.Fatal(err)
	}
	if got := a.spy.count("delete"); got != 1 {
		t.Fatalf("the group was to be deleted %d times", got)
	}
	if got := c.committedOffsets(b); !slices.Equal(got, []int64{2, -1, -1, -1}) {
		t.Errorf("committed %v", got)
	}
}
