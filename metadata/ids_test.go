package metadata

import "testing"

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
