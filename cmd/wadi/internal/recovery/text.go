package recovery

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// maxLines is how many of a kind are shown of one topic or transaction; JSON has all.
const maxLines = 10

// text is a report in the making.
type text struct{ strings.Builder }

func (t *text) line(format string, args ...any) { t.WriteString(fmt.Sprintf(format+"\n", args...)) }

// more says what was left out of a list of n, and whether the i-th is.
func (t *text) more(i, n int, indent string) bool {
	if i == maxLines {
		t.line("%sand %d more (--json has all)", indent, n-maxLines)
	}
	return i >= maxLines
}

func writeText(w io.Writer, r *recovery.Report) error {
	var t text
	title := "restored"
	switch {
	case r.DryRun:
		title = "would restore"
	case len(r.Transactions) > 0 && r.TransactionsEnded == "":
		title = "found"
	}
	t.line("%s snapshot %s of cluster %s, as of %s: %s", title, r.Snapshot.Name, r.Snapshot.ClusterID, r.Snapshot.At.UTC().Format(time.RFC3339), output.Plural(int(r.Snapshot.Rows), "row"))
	f := r.Files
	t.line("data files: %d, of which the snapshot has %d", f.Listed, f.Known)
	t.line("  %d came after it and are restored, %d of them in the exact order of their commits", f.Restored, f.ByCommit)
	t.line("  %d were merged since, which changed no record; %d are orphans from before", f.Merged, f.Orphans)
	if f.Contradictions > 0 {
		t.line("  %d were put where their time is, since what they hold goes round in a circle", f.Contradictions)
	}
	for _, topic := range r.Topics {
		t.topic(topic)
	}
	t.transactions(r)
	t.losses(r)
	_, err := io.WriteString(w, t.String())
	return err
}

// topic describes a topic; there is nothing to say of one that is as the snapshot has it but the number.
func (t *text) topic(r *recovery.TopicReport) {
	t.line("topic %s: %s records from the snapshot, %s since", r.Name, humanize.Comma(r.SnapshotRecords), humanize.Comma(r.RestoredRecords))
	switch {
	case r.Created:
		t.line("  newer than the snapshot: its configs are lost; name it with --topic %s=NAME", r.ID)
	case r.AddedPartitions > 0:
		t.line("  %s newer than the snapshot", output.Plural(r.AddedPartitions, "partition"))
	}
	if r.Unproven > 0 {
		t.line("  %s are in files that may never have been committed: some of them may be of producers that got no answer", humanize.Comma(r.Unproven))
	}
	if r.LeftOver > 0 {
		t.line("  %s of those are older than the snapshot, and were most likely not", humanize.Comma(r.LeftOver))
	}
	if r.Duplicates > 0 {
		t.line("  left out %s of batches that are there already", output.Plural(r.Duplicates, "duplicate"))
	}
	if r.ByClock > 0 {
		t.line("  %s are ordered by the clocks of agents alone:", humanize.Comma(r.ByClock))
	}
	for i, span := range r.Ranges {
		if t.more(i, len(r.Ranges), "    ") {
			break
		}
		t.line("    partition %d, offsets %d to %d, of %s", span.Partition, span.From, span.To-1, output.Plural(len(span.Files), "file"))
	}
	for i, forced := range r.Forced {
		if t.more(i, len(r.Forced), "  ") {
			break
		}
		t.line("  partition %d, offset %d: %d records of producer %d don't follow the ones before (%s)", forced.Partition, forced.Offset, forced.Records, forced.ProducerID, forced.Reason)
	}
}

func (t *text) transactions(r *recovery.Report) {
	if len(r.Transactions) == 0 {
		return
	}
	switch r.TransactionsEnded {
	case "":
		t.line("transactions whose end is lost, to be decided on by --unfinished:")
	case string(recovery.Abort):
		t.line("transactions whose end is lost, now aborted:")
	default:
		t.line("transactions whose end is lost, now committed:")
	}
	for i, tx := range r.Transactions {
		if t.more(i, len(r.Transactions), "  ") {
			break
		}
		name := fmt.Sprintf("producer %d", tx.ProducerID)
		if tx.ID != "" {
			name = fmt.Sprintf("%q (%s)", tx.ID, name)
		}
		since := "has written since the snapshot"
		if tx.Open {
			since = "was open in the snapshot"
		}
		t.line("  %s %s: %s records, %s", name, since, humanize.Comma(tx.Records), output.Plural(tx.Offsets, "pending offset"))
		for j, p := range tx.Partitions {
			if t.more(j, len(tx.Partitions), "    ") {
				break
			}
			t.line("    %s, partition %d, from offset %d", p.Topic, p.Partition, p.From)
		}
	}
}

func (t *text) losses(r *recovery.Report) {
	for i, m := range r.Missing {
		if t.more(i, len(r.Missing), "") {
			break
		}
		t.line("MISSING: data file %s, which the snapshot has", m.ID)
		for j, span := range m.Ranges {
			if t.more(j, len(m.Ranges), "  ") {
				break
			}
			t.line("  %s, partition %d, offsets %d to %d", span.Topic, span.Partition, span.From, span.To-1)
		}
	}
	for i, d := range r.Damaged {
		if t.more(i, len(r.Damaged), "") {
			break
		}
		where := ""
		if d.TopicID != nil {
			where = fmt.Sprintf(", partition %d of topic %s", d.Partition, d.TopicID)
		}
		t.line("DAMAGED: %s%s: %s", d.Key, where, d.Problem)
	}
}
