package fsck

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// result is what --json writes: the report, and whether it is all of it.
type result struct {
	fsck.Report
	// Total counts all findings; the list has at most fsck.MaxFindings of a kind.
	Total int64 `json:"total"`
	// Complete is false when the check was cut off, by Error.
	Complete bool   `json:"complete"`
	Error    string `json:"error,omitempty"`
}

func writeJSON(w io.Writer, r result) error { return output.JSON(w, r) }

// writeText writes the report for people.
func writeText(w io.Writer, r result) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "cluster    %s\n", r.ClusterID)
	fmt.Fprintf(out, "index      %s of %s\n", counted(r.Rows, "row"), counted(r.Partitions, "partition"))
	fmt.Fprintf(out, "objects    %s\n", sized("object", r.Objects))
	fmt.Fprintf(out, "files      %s\n", sized("data file", r.Files))
	if r.Deep {
		fmt.Fprintf(out, "read       %s\n", sized("section", r.Read))
	}
	for _, line := range []struct {
		text, what, rest string
		count            fsck.Count
	}{
		{"in flight  ", "object", ", which the metadata store doesn't know yet", r.InFlight},
		{"dead       ", "file", ", whose objects wait to be deleted", r.Dead},
		{"repaired   deleted ", "orphan", "", r.DeletedOrphans},
		{"repaired   deleted ", "dead file", "", r.DeletedDead},
	} {
		if line.count.Number > 0 {
			fmt.Fprintf(out, "%s%s%s\n", line.text, sized(line.what, line.count), line.rest)
		}
	}
	if r.Corrected > 0 {
		fmt.Fprintf(out, "repaired   the counts of %s\n", counted(r.Corrected, "file"))
	}
	if r.Unmarked > 0 {
		fmt.Fprintf(out, "repaired   gave %s back to merges\n", counted(r.Unmarked, "file"))
	}
	out.WriteString("\n")
	for _, f := range r.Findings {
		writeFinding(out, f)
	}
	writeSummary(out, r)
	_, err := io.WriteString(w, out.String())
	return err
}

func writeFinding(out *strings.Builder, f fsck.Finding) {
	fmt.Fprintf(out, "%s: %s", f.Severity, f.Kind)
	if f.Key != "" {
		fmt.Fprintf(out, " %s", f.Key)
	}
	fmt.Fprintf(out, "\n  %s\n", f.Detail)
	for _, hit := range f.Hit {
		fmt.Fprintf(out, "  hit: %s\n", hitText(hit))
	}
	if f.MoreHit > 0 {
		fmt.Fprintf(out, "  hit: %s more\n", humanize.Comma(int64(f.MoreHit)))
	}
	if f.Repaired != "" {
		fmt.Fprintf(out, "  repaired: %s\n", f.Repaired)
	}
}

func hitText(o fsck.Offsets) string {
	offsets := fmt.Sprintf("offsets %d to %d", o.First, o.Last)
	if o.First == o.Last {
		offsets = fmt.Sprintf("offset %d", o.First)
	}
	if o.Topic == "" {
		return fmt.Sprintf("partition with ID %d of a topic that is gone, %s", o.Partition, offsets)
	}
	return fmt.Sprintf("topic %s partition %d, %s", o.Topic, o.Partition, offsets)
}

func writeSummary(out *strings.Builder, r result) {
	if !r.Complete {
		out.WriteString("INCOMPLETE: ")
	}
	if r.Total == 0 {
		out.WriteString("no findings\n")
		return
	}
	kinds := slices.SortedFunc(maps.Keys(r.ByKind), func(a, b fsck.Kind) int {
		return cmp.Or(cmp.Compare(r.ByKind[b], r.ByKind[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%s %s", humanize.Comma(r.ByKind[kind]), kind))
	}
	fmt.Fprintf(out, "%s: %s\n", counted(r.Total, "finding"), strings.Join(parts, ", "))
	if more := r.Total - int64(len(r.Findings)); more > 0 {
		fmt.Fprintf(out, "%s of them are not listed\n", humanize.Comma(more))
	}
}

// sized is "3 objects, 1.2 MiB".
func sized(what string, c fsck.Count) string {
	return fmt.Sprintf("%s, %s", counted(c.Number, what), humanize.IBytes(uint64(max(c.Bytes, 0))))
}

// counted is "1 row" or "2,000 rows".
func counted(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return humanize.Comma(n) + " " + what
}
