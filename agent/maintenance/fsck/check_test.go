package fsck_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

func TestSoundClusterHasNoFindings(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		for _, options := range []fsck.Options{{}, {Deep: true}, {Deep: true, Repair: true}} {
			steps := map[string]int64{}
			options.Progress = func(p fsck.Progress) { steps[p.Step] = p.Done }
			r := c.check(t, options)
			if r.Total() != 0 || len(r.Findings) != 0 {
				t.Errorf("%+v: findings %+v", options, r.Findings)
			}
			live := c.live(t)
			if r.Partitions != 3 || r.Rows < 8 || r.Files.Number != int64(len(live)) || r.Objects.Number != r.Files.Number+r.Dead.Number || r.Dead.Number == 0 {
				t.Errorf("%+v: report %+v of %d live files", options, r, len(live))
			}
			if want := map[string]int64{"index": r.Rows, "objects": r.Objects.Number, "files": r.Files.Number}; !reflect.DeepEqual(steps, want) {
				t.Errorf("progress %v, want %v", steps, want)
			}
			if options.Deep != (r.Read.Number > 0) || r.InFlight.Number != 0 {
				t.Errorf("%+v: report %+v", options, r)
			}
		}
	})
}

// damage is something wrong, and what must be found of it, nothing else.
type damage struct {
	name string
	do   func(t *testing.T, c *cluster)
	// kinds are those of all findings; deep is whether only a deep check has them.
	kinds []fsck.Kind
	deep  bool
	// postgres: it is tried there, too, of each kind once.
	postgres bool
	// detail is in the first finding, hit the records that it names.
	detail string
	hit    string
	// repaired is what is left after a repair: nil for the same.
	repaired []fsck.Kind
}

var damages = []damage{
	{
		name:     "missing object",
		postgres: true,
		do:       func(t *testing.T, c *cluster) { must(t, c.objects.Delete(t.Context(), datafile.Key(c.fresh[1]))) },
		kinds:    []fsck.Kind{fsck.MissingObject},
		detail:   "doesn't exist", hit: "a-1 4 to 5, b-0 5 to 6",
	},
	{
		name:  "missing object of a merged file",
		do:    func(t *testing.T, c *cluster) { must(t, c.objects.Delete(t.Context(), datafile.Key(c.merged[0]))) },
		kinds: []fsck.Kind{fsck.MissingObject}, hit: "a-0 0 to 8, a-1 0 to 3, b-0 0 to 4",
	},
	{
		name:     "longer object",
		postgres: true,
		do:       func(t *testing.T, c *cluster) { c.replace(t, c.fresh[1], append(c.object(t, c.fresh[1]), 0)) },
		kinds:    []fsck.Kind{fsck.WrongSize},
		detail:   "the file was committed with", hit: "a-1 4 to 5, b-0 5 to 6",
	},
	{
		name: "cut object",
		do: func(t *testing.T, c *cluster) {
			b := c.object(t, c.fresh[1])
			c.replace(t, c.fresh[1], b[:len(b)/2])
		},
		kinds: []fsck.Kind{fsck.WrongSize},
	},
	{
		name: "footer",
		do: func(t *testing.T, c *cluster) {
			b := c.object(t, c.fresh[1])
			b[len(b)-20] ^= 1
			c.replace(t, c.fresh[1], b)
		},
		kinds: []fsck.Kind{fsck.DamagedFile}, detail: "CRC", hit: "a-1 4 to 5, b-0 5 to 6",
	},
	{
		name: "object of another file",
		do: func(t *testing.T, c *cluster) {
			other := encode(t, newID(t, time.Now()), datafile.None, part{c.a, 1, []protocol.Batch{makeBatch(t, 2, 30)}}, part{c.b, 0, []protocol.Batch{makeBatch(t, 1, 10), makeBatch(t, 1, 20)}})
			c.replace(t, c.fresh[1], other.Bytes)
		},
		kinds: []fsck.Kind{fsck.DamagedFile}, detail: "the object is data file",
	},
	{
		name: "bit of a raw record",
		do: func(t *testing.T, c *cluster) {
			b := c.object(t, c.fresh[2])
			b[90] ^= 1
			c.replace(t, c.fresh[2], b)
		},
		kinds: []fsck.Kind{fsck.DamagedSection}, deep: true, detail: "section 0 at byte 8: batch 0", hit: "a-1 6 to 7",
	},
	{
		name: "bit of a frame",
		do: func(t *testing.T, c *cluster) {
			b := c.object(t, c.fresh[0])
			b[40] ^= 1
			c.replace(t, c.fresh[0], b)
		},
		kinds: []fsck.Kind{fsck.DamagedSection}, deep: true, detail: "frame at byte 0", hit: "a-0 9 to 14",
	},
	{
		name: "offset in a merged section",
		do: func(t *testing.T, c *cluster) {
			c.changeMerged(t, func(s datafile.Section, file []byte) bool {
				if s.Encoding != datafile.Raw {
					return false
				}
				protocol.Batch(file[s.Position:]).SetBaseOffset(s.BaseOffset + 1)
				return true
			})
		},
		kinds: []fsck.Kind{fsck.DamagedSection}, deep: true, detail: "its offsets are",
	},
	{
		name:     "index of a merged section",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.changeMerged(t, func(s datafile.Section, file []byte) bool {
				file[s.Position+int64(s.StoredSize)+21] ^= 1
				return true
			})
		},
		kinds: []fsck.Kind{fsck.DamagedSection}, deep: true, detail: "index has CRC",
	},
	{
		name: "records of a row",
		do: func(t *testing.T, c *cluster) {
			// Rows still cover all offsets.
			c.exec(t, `UPDATE runs SET records = 2 WHERE partition_id = $1 AND base_offset = 14`, c.a.Partitions[0])
			c.exec(t, `UPDATE partitions SET next_offset = 16 WHERE id = $1`, c.a.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, deep: true, detail: "the row has 2 records, its bytes 1", hit: "a-0 14 to 15",
	},
	{
		name:     "lost key",
		postgres: true,
		do:       func(t *testing.T, c *cluster) { c.rekey(t, c.fresh[0], c.a.Partitions[0], 14, 4711) },
		kinds:    []fsck.Kind{fsck.WrongCounts}, detail: "1 of the file's 2 rows are not found by its keys", repaired: []fsck.Kind{},
	},
	{
		name:     "row beyond the file",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET position = 100000 WHERE file_id = $1 AND partition_id = $2`, c.fresh[1], c.b.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "lie in no section", hit: "b-0 5 to 6",
	},
	{
		name: "row with another partition's bytes",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET position = 8, stored_size = 10, size = 10 WHERE file_id = $1 AND position > 8`, c.fresh[1])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "the row's bytes are in a section of",
	},
	{
		name: "encoding",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET encoding = 0 WHERE file_id = $1 AND base_offset = 9`, c.fresh[0])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "the row's encoding is 0, the section's 1", hit: "a-0 9 to 13",
	},
	{
		name: "framed row that takes more than there is",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET skip = skip + 1 WHERE file_id = $1 AND base_offset = 14`, c.fresh[0])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "the section has", hit: "a-0 14 to 14",
	},
	{
		name: "size of a merged row",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET size = size + 1 WHERE file_id = $1 AND partition_id = $2`, c.merged[0], c.b.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "decoded, the section", hit: "b-0 0 to 4",
	},
	{
		name: "merged row that says it is not",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET merged = $3 WHERE file_id = $1 AND partition_id = $2`, c.merged[0], c.b.Partitions[0], false)
		},
		kinds: []fsck.Kind{fsck.WrongRun}, detail: "the row says merged false, the section true",
	},
	{
		name:     "timestamp of a row",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET max_timestamp = 5 WHERE file_id = $1 AND partition_id = $2`, c.fresh[1], c.b.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Timestamps, fsck.WrongRun}, detail: "the row's timestamp is 5, the section has one of",
	},
	{
		name: "offsets of a merged row",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET records = records - 1 WHERE file_id = $1 AND partition_id = $2`, c.merged[0], c.b.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Hole, fsck.WrongRun}, detail: "no row covers the offsets", hit: "b-0 4 to 4",
	},
	{
		name:     "lost row",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `DELETE FROM runs WHERE partition_id = $1 AND base_offset = 9`, c.a.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Hole, fsck.WrongCounts}, hit: "a-0 9 to 13", repaired: []fsck.Kind{fsck.Hole},
	},
	{
		name: "lost first row",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `DELETE FROM runs WHERE partition_id = $1 AND base_offset = 0`, c.b.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Hole, fsck.WrongCounts}, hit: "b-0 0 to 4", repaired: []fsck.Kind{fsck.Hole},
	},
	{
		name: "lost last row",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `DELETE FROM runs WHERE partition_id = $1 AND base_offset = 14`, c.a.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Hole, fsck.WrongCounts}, hit: "a-0 14 to 14", repaired: []fsck.Kind{fsck.Hole},
	},
	{
		name: "overlapping rows",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE runs SET records = 5 WHERE partition_id = $1 AND base_offset = 9`, c.a.Partitions[0])
			c.exec(t, `UPDATE runs SET records = records + 1 WHERE partition_id = $1 AND base_offset = 0`, c.a.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Overlap, fsck.WrongRun}, detail: "the section has offsets 0 to 8",
	},
	{
		name:     "row beyond the next offset",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE partitions SET next_offset = 13 WHERE id = $1`, c.a.Partitions[0])
		},
		kinds: []fsck.Kind{fsck.Overlap, fsck.Overlap}, detail: "beyond the next offset 13",
	},
	{
		name: "lost marker",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `DELETE FROM runs WHERE partition_id = $1 AND encoding = 2`, c.a.Partitions[1])
		},
		kinds: []fsck.Kind{fsck.AbortedWithoutMarker, fsck.Hole},
	},
	{
		name:     "marker elsewhere",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE aborted_transactions SET last_offset = 7 WHERE partition_id = $1 AND last_offset = 8`, c.a.Partitions[1])
		},
		kinds: []fsck.Kind{fsck.AbortedWithoutMarker}, detail: "offset 7, where the transaction was aborted, is a record", hit: "a-1 6 to 7",
	},
	{
		name: "marker of another producer",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE aborted_transactions SET producer_id = 4711 WHERE partition_id = $1 AND last_offset = 8`, c.a.Partitions[1])
		},
		kinds: []fsck.Kind{fsck.AbortedWithoutMarker}, detail: "producer 4711: offset 8, where the transaction was aborted, ends another one",
	},
	{
		name: "abort behind the end",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE aborted_transactions SET last_offset = 50 WHERE partition_id = $1 AND last_offset = 8`, c.a.Partitions[1])
		},
		kinds: []fsck.Kind{fsck.AbortedWithoutMarker}, detail: "no row covers offset 50",
	},
	{
		name:  "unknown file",
		do:    func(t *testing.T, c *cluster) { c.exec(t, `DELETE FROM files WHERE id = $1`, c.fresh[0]) },
		kinds: []fsck.Kind{fsck.UnknownFile}, detail: "doesn't know", hit: "a-0 9 to 14",
	},
	{
		name:     "dead file with rows",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `DELETE FROM files WHERE id = $1`, c.fresh[0])
			c.exec(t, `INSERT INTO dead_files (id, size, died_at) VALUES ($1, 100, $2)`, c.fresh[0], time.Now().Add(-72*time.Hour))
		},
		kinds: []fsck.Kind{fsck.UnknownFile}, detail: "to be deleted", hit: "a-0 9 to 14",
	},
	{
		name:     "too many live runs",
		postgres: true,
		do:       func(t *testing.T, c *cluster) { c.exec(t, `UPDATE files SET live_runs = 9 WHERE id = $1`, c.fresh[0]) },
		kinds:    []fsck.Kind{fsck.WrongCounts}, detail: "counts 9 rows, there are 2", repaired: []fsck.Kind{},
	},
	{
		name:  "too few live runs",
		do:    func(t *testing.T, c *cluster) { c.exec(t, `UPDATE files SET live_runs = 1 WHERE id = $1`, c.merged[0]) },
		kinds: []fsck.Kind{fsck.WrongCounts}, repaired: []fsck.Kind{},
	},
	{
		name:     "too few live bytes",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE files SET live_bytes = 1 WHERE id = $1`, c.merged[0])
		},
		kinds: []fsck.Kind{fsck.WrongCounts}, detail: "counts 1 live bytes", repaired: []fsck.Kind{},
	},
	{
		name: "too many live bytes",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE files SET live_bytes = size + 1 WHERE id = $1`, c.fresh[1])
		},
		kinds: []fsck.Kind{fsck.WrongCounts}, repaired: []fsck.Kind{},
	},
	{
		name:     "readable file that is marked as damaged",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE files SET level = -2 WHERE id = $1`, c.fresh[1])
			c.exec(t, `UPDATE files SET level = -2 WHERE id = $1`, c.merged[0])
		},
		kinds: []fsck.Kind{fsck.MarkedDamaged, fsck.MarkedDamaged}, deep: true, detail: "no merge takes it", repaired: []fsck.Kind{},
	},
	{
		name: "damaged file that is marked as such",
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE files SET level = -2 WHERE id = $1`, c.fresh[2])
			b := c.object(t, c.fresh[2])
			b[90] ^= 1
			c.replace(t, c.fresh[2], b)
		},
		kinds: []fsck.Kind{fsck.DamagedSection}, deep: true,
	},
	{
		name:     "rows of a partition that doesn't exist",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			must(t, c.store.DeleteTopic(t.Context(), c.b.ID))
			c.exec(t, `UPDATE runs SET partition_id = 4711 WHERE partition_id = $1 AND base_offset = 14`, c.a.Partitions[0])
			c.exec(t, `UPDATE partitions SET next_offset = 14 WHERE id = $1`, c.a.Partitions[0])
			c.rekey(t, c.fresh[0], c.a.Partitions[0], 14, 4711)
		},
		kinds: []fsck.Kind{fsck.LeftoverRows}, detail: "4711",
	},
	{
		name:     "orphan",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			must(t, c.objects.Put(t.Context(), datafile.Key(newID(t, time.Now().Add(-3*time.Hour))), []byte("whatever it holds")))
		},
		kinds: []fsck.Kind{fsck.Orphan}, detail: "an object of 17 bytes that the metadata store doesn't know", repaired: []fsck.Kind{},
	},
	{
		name: "foreign object",
		do: func(t *testing.T, c *cluster) {
			must(t, c.objects.Put(t.Context(), "data/notes.txt", []byte("mine")))
		},
		kinds: []fsck.Kind{fsck.ForeignObject}, detail: "4 bytes",
	},
	{
		name:     "dead for long",
		postgres: true,
		do: func(t *testing.T, c *cluster) {
			c.exec(t, `UPDATE dead_files SET died_at = $1`, time.Now().Add(-25*time.Hour))
		},
		kinds: slices.Repeat([]fsck.Kind{fsck.Overdue}, 3), repaired: []fsck.Kind{},
	},
}

// changeMerged changes a merged section with runs, and puts the file's checksums right.
func (c *cluster) changeMerged(t testing.TB, change func(s datafile.Section, file []byte) bool) {
	t.Helper()
	file := c.object(t, c.merged[0])
	footer, err := datafile.ReadFooter(file)
	must(t, err)
	for _, s := range footer.Sections {
		if change(s, file) {
			c.replace(t, c.merged[0], file)
			return
		}
	}
	t.Fatal("no such section")
}

// rekey gives a file's key another partition.
func (c *cluster) rekey(t testing.TB, file any, partition metadata.PartitionID, offset int64, to int32) {
	t.Helper()
	if strings.Contains(fmt.Sprintf("%T", c.store), "sqlite") {
		c.exec(t, `UPDATE file_keys SET keys = replace(keys, $2, $3) WHERE file_id = $1`, file, fmt.Sprintf("[%d,%d]", partition, offset), fmt.Sprintf("[%d,%d]", to, offset))
		return
	}
	c.exec(t, `UPDATE files SET partitions[array_position(offsets, $2)] = $3 WHERE id = $1`, file, offset, to)
}

func TestDamageIsFound(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			test := func(t *testing.T, c *cluster) {
				d.do(t, c)
				shallow := c.check(t, fsck.Options{})
				if want := d.kinds; d.deep {
					if found := kinds(shallow); len(found) > 0 && !slices.Contains(found, fsck.WrongCounts) {
						t.Errorf("a check that is not deep finds %v", found)
					}
				} else if !slices.Equal(kinds(shallow), want) {
					t.Fatalf("findings %+v\nwant kinds %v", shallow.Findings, want)
				}
				r := c.check(t, fsck.Options{Deep: true})
				if !slices.Equal(kinds(r), d.kinds) {
					t.Fatalf("findings %+v\nwant kinds %v", r.Findings, d.kinds)
				}
				details := ""
				for _, f := range r.Findings {
					details += f.Detail + "; "
				}
				if !strings.Contains(details, d.detail) {
					t.Errorf("details %q, want one with %q", details, d.detail)
				}
				if got := hits(r.Findings[0].Hit); d.hit != "" && got != d.hit {
					t.Errorf("hit %s, want %s", got, d.hit)
				}
				c.checkRepair(t, d)
			}
			if d.postgres {
				stores(t, test)
			} else {
				test(t, newCluster(t, newSQLite(t)))
			}
		})
	}
}

// checkRepair repairs, and looks what is left. A check that is not asked to has changed nothing before.
func (c *cluster) checkRepair(t *testing.T, d damage) {
	t.Helper()
	r := c.check(t, fsck.Options{Repair: true, Deep: true})
	if !slices.Equal(kinds(r), d.kinds) {
		t.Errorf("a repair finds %+v", r.Findings)
	}
	left := d.kinds
	if d.repaired != nil {
		left = d.repaired
	} else if slices.Contains(left, fsck.WrongCounts) {
		left = slices.DeleteFunc(slices.Clone(left), func(k fsck.Kind) bool { return k == fsck.WrongCounts })
	}
	for _, f := range r.Findings {
		if (f.Repaired != "") == slices.Contains(left, f.Kind) {
			t.Errorf("finding %+v, but %v are left", f, left)
		}
	}
	again := c.check(t, fsck.Options{Deep: true})
	if !slices.Equal(kinds(again), left) {
		t.Errorf("after the repair: %+v\nwant kinds %v", again.Findings, left)
	}
}

func kinds(r fsck.Report) []fsck.Kind {
	found := []fsck.Kind{}
	for _, f := range r.Findings {
		found = append(found, f.Kind)
	}
	slices.Sort(found)
	return found
}

func hits(hit []fsck.Offsets) string {
	var texts []string
	for _, h := range hit {
		texts = append(texts, fmt.Sprintf("%s-%d %d to %d", h.Topic, h.Partition, h.First, h.Last))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}
