package metadata

import (
	"errors"
	"testing"
)

func TestIDsAreNoFlags(t *testing.T) {
	seen := map[string]bool{}
	for range 5000 { // one in 64 random IDs would start with '-'
		id := NewClusterID()
		if len(id) != 22 || id[0] == '-' || seen[id] {
			t.Fatalf("cluster ID %q", id)
		}
		seen[id] = true
	}
	if id := NewTopicID(); id.Version() != 4 {
		t.Errorf("topic ID %s has version %d", id, id.Version())
	}
}

func TestChooseNodeID(t *testing.T) {
	for _, c := range []struct {
		asked, ours int32
		alive, dead []int32
		want        int32 // 0: in use
	}{
		{0, 0, nil, nil, 1},
		{0, 0, []int32{1, 2, 4}, nil, 3},
		{0, 0, []int32{1, 4}, []int32{2, 3}, 5},
		{0, 7, []int32{1}, []int32{2}, 7},
		{5, 7, []int32{1}, nil, 5},
		{5, 5, nil, nil, 5},
		{5, 7, []int32{5}, nil, 0},
		{5, 7, []int32{1}, []int32{5}, 5},
	} {
		held := NodeIDs{Ours: c.ours, Others: map[int32]bool{}}
		for _, id := range c.alive {
			held.Others[id] = true
		}
		for _, id := range c.dead {
			held.Others[id] = false
		}
		got, err := held.Choose(c.asked)
		if got != c.want || errors.Is(err, ErrNodeIDInUse) != (c.want == 0) {
			t.Errorf("%+v: got %d, %v", c, got, err)
		}
	}
}

// Rows in databases are under these keys.
func TestGroupKeysAreStable(t *testing.T) {
	for id, want := range map[string]string{
		"":      "00000000-0000-0000-0000-000000000000", // sorts first
		"group": "ad936fcb-ed63-1fa6-7e05-c3ea03953905",
		"\x00":  "6e340b9c-ffb3-7a98-9ca5-44e6bb780a2c",
	} {
		if got := GroupKey(id).String(); got != want {
			t.Errorf("%q: got %s, want %s", id, got, want)
		}
	}
}
