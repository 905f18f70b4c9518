package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// groupChanges are changes of a group that is in state "before" and has offset 1.
var groupChanges = map[string]func(ctx context.Context, s *Store, version int64) error{
	"store": func(ctx context.Context, s *Store, version int64) error {
		_, err := s.StoreGroup(ctx, "g", version, metadata.GroupState{State: []byte("after")})
		return err
	},
	"delete":        func(ctx context.Context, s *Store, version int64) error { return s.DeleteGroup(ctx, "g", version) },
	"write offsets": func(ctx context.Context, s *Store, _ int64) error { return writeOffset(ctx, s, "g", 2) },
	"write offsets of a new group": func(ctx context.Context, s *Store, _ int64) error {
		return writeOffset(ctx, s, "new", 2)
	},
}

func writeOffset(ctx context.Context, s *Store, id string, offset int64) error {
	refs := []metadata.GroupRef{{ID: id, Create: &metadata.GroupState{State: []byte("before")}}}
	return s.WriteOffsets(ctx, refs, func(time.Time, []metadata.Group) (metadata.OffsetChanges, error) {
		return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: id, Partition: 1, Offset: offset}}}, nil
	})
}

// wantUnchanged requires the groups as groupChanges expect them, and returns the version.
func wantUnchanged(t *testing.T, s *Store) int64 {
	t.Helper()
	groups, _, err := s.LoadGroups(t.Context(), []metadata.GroupRef{{ID: "g"}, {ID: "new"}})
	if err != nil {
		t.Fatal(err)
	}
	offsets, err := s.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}, {GroupID: "new"}})
	if err != nil {
		t.Fatal(err)
	}
	if string(groups[0].State) != "before" || groups[1].Version != 0 || len(offsets[0]) != 1 || offsets[0][0].Offset != 1 || len(offsets[1]) != 0 {
		t.Fatalf("got %+v with offsets %+v", groups, offsets)
	}
	return groups[0].Version
}

// TestGroupChangeThatFailsHalfWay lets the last statement of each change fail.
func TestGroupChangeThatFailsHalfWay(t *testing.T) {
	for name, change := range groupChanges {
		t.Run(name, func(t *testing.T) {
			d := database{filepath.Join(t.TempDir(), "metadata.db")}
			s := open(t, d.path)
			if err := writeOffset(t.Context(), s, "g", 1); err != nil {
				t.Fatal(err)
			}
			version := wantUnchanged(t, s)
			db := d.raw(t)
			triggers := []string{"UPDATE ON group_states", "DELETE ON group_offsets", "UPDATE ON group_offsets", "INSERT ON group_offsets"}
			for i, on := range triggers {
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf(`CREATE TRIGGER fail%d BEFORE %s BEGIN SELECT RAISE(ABORT, 'injected'); END`, i, on)); err != nil {
					t.Fatal(err)
				}
			}
			if err := change(t.Context(), s, version); err == nil || !strings.Contains(err.Error(), "injected") {
				t.Fatalf("got %v", err)
			}
			wantUnchanged(t, s)
			for i := range triggers {
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf(`DROP TRIGGER fail%d`, i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := change(t.Context(), s, version); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestGroupChangeWaitsNoLongerThanItsDeadline(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	s := open(t, d.path)
	if err := writeOffset(t.Context(), s, "g", 1); err != nil {
		t.Fatal(err)
	}
	holder, err := d.raw(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := holder.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	version := wantUnchanged(t, s) // readers never wait
	for name, change := range groupChanges {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := change(ctx, s, version)
		cancel()
		if !errors.Is(err, metadata.ErrUnavailable) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	// Nothing is due, so this only reads.
	if ids, err := s.ClaimDueGroups(t.Context(), 10, time.Minute); err != nil || len(ids) != 0 {
		t.Fatalf("claimed %q, %v", ids, err)
	}
	if _, err := holder.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	wantUnchanged(t, s)
}

// childCounts, in the environment, makes the second process (see childPath) count in a group.
const childCounts = "WADI_TEST_SQLITE_CHILD_COUNTS"

// countInGroup counts on in group g, which every counter changes, and commits
// each count as an offset; it tells of each when both are acknowledged, and ends
// with the teller's error.
func countInGroup(ctx context.Context, s *Store, tell func(count int) error) error {
	for {
		groups, _, err := s.LoadGroups(ctx, []metadata.GroupRef{{ID: "g"}})
		if err != nil {
			return err
		}
		count := 0
		if groups[0].Version != 0 {
			if count, err = strconv.Atoi(string(groups[0].State)); err != nil {
				return err
			}
		}
		count++
		version, err := s.StoreGroup(ctx, "g", groups[0].Version, metadata.GroupState{State: []byte(strconv.Itoa(count))})
		if errors.Is(err, metadata.ErrGroupVersion) {
			continue
		}
		if err == nil {
			err = s.WriteOffsets(ctx, []metadata.GroupRef{{ID: "g", Known: version}}, func(_ time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
				return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: metadata.PartitionID(count), Offset: int64(count)}}}, nil
			})
		}
		if err == nil {
			err = tell(count)
		}
		if err != nil {
			return err
		}
	}
}

// TestTwoProcessesCountInOneGroup: one of them is killed in the middle. Every
// count was given once, and what was acknowledged is there.
func TestTwoProcessesCountInOneGroup(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	child, out := startChild(t, s.path, childCounts+"=1")
	const counts = 40
	acknowledged := map[int]bool{}
	lines := bufio.NewScanner(out)
	read := func() bool {
		if !lines.Scan() {
			return false
		}
		count, err := strconv.Atoi(lines.Text())
		if err != nil || acknowledged[count] {
			t.Errorf("the other process counted %q after %v", lines.Text(), acknowledged)
			return true
		}
		acknowledged[count] = true
		return true
	}
	enough := errors.New("enough")
	own := 0
	err := countInGroup(t.Context(), s, func(count int) error {
		if acknowledged[count] {
			t.Errorf("%d was counted twice", count)
		}
		acknowledged[count] = true
		if own++; own >= counts || !read() {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || own < counts {
		t.Errorf("counted %d times: %v", own, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	for read() {
	}
	_ = child.Wait() // killed

	groups, _, err := s.LoadGroups(t.Context(), []metadata.GroupRef{{ID: "g"}})
	if err != nil {
		t.Fatal(err)
	}
	offsets, err := s.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range offsets[0] {
		delete(acknowledged, int(o.Offset))
	}
	if len(acknowledged) != 0 {
		t.Errorf("acknowledged, but not there: %v", acknowledged)
	}
	// The count that was under way when the process was killed may be there, too,
	// without its offset.
	last, err := strconv.Atoi(string(groups[0].State))
	if n := len(offsets[0]); err != nil || last < n || last > n+1 {
		t.Errorf("counted to %d with %d offsets, %v", last, n, err)
	}
}
