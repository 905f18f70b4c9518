package group

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// positions gathers what the plan needs to know of the chosen partitions.
func (r *reset) positions(ctx context.Context, goal goal, chosen selection) ([]position, error) {
	committed, err := committedOffsets(ctx, r.client, r.name)
	if err != nil {
		return nil, err
	}
	if chosen == nil {
		chosen = selection{}
		for topic := range committed {
			chosen[topic] = nil
		}
		for _, topic := range r.group.subscribed {
			chosen[topic] = nil
		}
		if len(chosen) == 0 {
			return nil, fmt.Errorf("group %s has no offsets and no subscription; name topics with --topic", r.name)
		}
	}
	l, err := loadLogs(ctx, r.client, chosen.names())
	if err != nil {
		return nil, err
	}
	partitions, err := chosen.partitions(r.client, l)
	if err != nil {
		return nil, err
	}
	atTime, err := r.offsetsAt(ctx, goal, chosen.names())
	if err != nil {
		return nil, err
	}
	var positions []position
	for _, p := range partitions {
		start, end, err := l.bounds(p)
		if err != nil {
			return nil, r.client.Explain(fmt.Sprintf("listing offsets of %s partition %d", p.topic, p.partition), err, "")
		}
		at := position{partition: p, committed: -1, start: start, end: end}
		if old, ok := committed.Lookup(p.topic, p.partition); ok {
			at.committed, at.metadata = old.At, old.Metadata
		}
		if goal.kind == toTime {
			timed, ok := atTime.Lookup(p.topic, p.partition)
			if !ok || timed.Err != nil {
				return nil, r.client.Explain(fmt.Sprintf("listing offsets by time of %s partition %d", p.topic, p.partition), timed.Err, "")
			}
			at.atTime = timed.Offset
		}
		positions = append(positions, at)
	}
	return positions, nil
}

// offsetsAt lists offsets by time, where the goal is one.
func (r *reset) offsetsAt(ctx context.Context, goal goal, topics []string) (kadm.ListedOffsets, error) {
	if goal.kind != toTime {
		return nil, nil
	}
	ctx, cancel := r.client.Bound(ctx)
	defer cancel()
	offsets, err := r.client.Admin.ListOffsetsAfterMilli(ctx, goal.n, topics...)
	return offsets, r.client.Explain("listing offsets by time", err, "")
}
