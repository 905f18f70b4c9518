package group

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// progress is how far a group is in one partition. What is not known is nil.
type progress struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Committed is the next offset that the group will read.
	Committed *int64 `json:"committed"`
	// End is the next offset that will be written.
	End *int64 `json:"end"`
	// Lag is how many offsets lie between.
	Lag *int64 `json:"lag"`
	// LagSeconds is how long ago the first record that the group has not read
	// was written; 0 where it has read all.
	LagSeconds *float64 `json:"lag_seconds"`
	Metadata   string   `json:"metadata"`
	// MemberID is the member that has the partition, nil where none has.
	MemberID *string `json:"member_id"`
}

// addOffsets fills Offsets, Lag and LagSeconds of the groups: the partitions
// that have a committed offset, and those that a member has. note is told why a lag in
// seconds is not known.
func addOffsets(ctx context.Context, client *bootstrap.Client, groups []described, note func(format string, args ...any)) error {
	var topics []string
	for i := range groups {
		committed, err := committedOffsets(ctx, client, groups[i].Group)
		if err != nil {
			return err
		}
		groups[i].Offsets = progressOf(groups[i].Members, committed)
		for _, p := range groups[i].Offsets {
			topics = append(topics, p.Topic)
		}
	}
	slices.Sort(topics)
	l, err := loadLogs(ctx, client, slices.Compact(topics))
	if err != nil {
		return err
	}
	for i := range groups {
		offsets := groups[i].Offsets
		unread := addLag(offsets, l)
		seconds := probe(ctx, client, l.topics, unread)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		noteUnknown(seconds, note)
		addSeconds(offsets, seconds, time.Now())
		addTotals(&groups[i])
	}
	return nil
}

// noteUnknown tells why lags in seconds are not known.
func noteUnknown(found map[partition]probed, note func(format string, args ...any)) {
	unknown := failures{}
	for p, outcome := range found {
		if outcome.err != nil {
			unknown.add(p, outcome.err)
		}
	}
	for partitions, err := range unknown.each() {
		note("seconds are unknown for %s: %v\n", partitions, err)
	}
}

// committedOffsets returns what the group has committed.
func committedOffsets(ctx context.Context, client *bootstrap.Client, group string) (kadm.Offsets, error) {
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	responses, err := client.Admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, client.Explain("fetching offsets of group "+group, err, "")
	}
	committed := kadm.Offsets{}
	for _, response := range responses.Sorted() {
		if response.Err != nil {
			return nil, client.Explain("fetching offsets of group "+group, response.Err, "")
		}
		if response.At >= 0 { // -1 is none
			committed.Add(response.Offset)
		}
	}
	return committed, nil
}

// progressOf returns a row for each partition that has a committed offset or
// a member, by topic and partition.
func progressOf(members []member, committed kadm.Offsets) []progress {
	rows := map[partition]progress{}
	committed.Each(func(o kadm.Offset) {
		rows[partition{o.Topic, o.Partition}] = progress{Topic: o.Topic, Partition: o.Partition, Committed: &o.At, Metadata: o.Metadata}
	})
	for _, m := range members {
		for _, a := range m.Partitions {
			for _, n := range a.Partitions {
				row := rows[partition{a.Topic, n}]
				row.Topic, row.Partition, row.MemberID = a.Topic, n, &m.MemberID
				rows[partition{a.Topic, n}] = row
			}
		}
	}
	sorted := []progress{} // [] in JSON, not null
	for _, p := range sortedPartitions(rows) {
		sorted = append(sorted, rows[p])
	}
	return sorted
}

// addLag fills End and Lag, and returns where the unread records begin.
func addLag(rows []progress, l logs) map[partition]int64 {
	unread := map[partition]int64{}
	for i := range rows {
		row := &rows[i]
		p := partition{row.Topic, row.Partition}
		start, end, err := l.bounds(p)
		if err != nil {
			continue // shown as unknown: the topic is gone, or its leader is away
		}
		row.End = &end
		if row.Committed == nil {
			continue // where such a group begins, only its members know
		}
		lag := max(0, end-*row.Committed)
		row.Lag = &lag
		if lag > 0 {
			unread[p] = max(start, *row.Committed)
		}
	}
	return unread
}

// addSeconds fills LagSeconds where Lag is known.
func addSeconds(rows []progress, found map[partition]probed, now time.Time) {
	for i := range rows {
		row := &rows[i]
		if row.Lag == nil {
			continue
		}
		seconds := 0.0
		if *row.Lag > 0 {
			outcome := found[partition{row.Topic, row.Partition}]
			if outcome.err != nil || outcome.written.UnixMilli() < 0 { // -1 is a record without a timestamp
				continue
			}
			// A producer's clock may be ahead of ours.
			seconds = max(0, now.Sub(outcome.written).Round(time.Millisecond).Seconds())
		}
		row.LagSeconds = &seconds
	}
}

// addTotals fills Lag and LagSeconds of the group.
func addTotals(group *described) {
	for _, row := range group.Offsets {
		if row.Lag != nil {
			if group.Lag == nil {
				group.Lag = new(int64)
			}
			*group.Lag += *row.Lag
		}
		if row.LagSeconds != nil && (group.LagSeconds == nil || *row.LagSeconds > *group.LagSeconds) {
			group.LagSeconds = row.LagSeconds
		}
	}
}
