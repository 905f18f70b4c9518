package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// span is what is left to read of one partition: [next, end).
type span struct {
	topic     string
	partition int32
	next, end int64
}

// forEver is the end of a span that is followed.
const forEver = math.MaxInt64

// request is what the user wants to read.
type request struct {
	topics []string
	// partitions is empty for all.
	partitions    []int32
	from, until   position
	follow        bool
	readCommitted bool
}

// plan asks the cluster for the bounds of the partitions and returns a span
// for each, by topic and partition. note is told of offsets that were asked
// for and do not exist.
func plan(ctx context.Context, client *bootstrap.Client, req request, note func(format string, args ...any)) ([]span, error) {
	ctx, cancel := client.Bound(ctx)
	defer cancel()

	starts, err := client.Admin.ListStartOffsets(ctx, req.topics...)
	if err := listError(client, "listing start offsets", starts, err); err != nil {
		return nil, err
	}
	list := client.Admin.ListEndOffsets
	if req.readCommitted {
		list = client.Admin.ListCommittedOffsets // what lies behind is undecided
	}
	ends, err := list(ctx, req.topics...)
	if err := listError(client, "listing end offsets", ends, err); err != nil {
		return nil, err
	}
	times := map[int64]kadm.ListedOffsets{}
	for _, p := range []position{req.from, req.until} {
		if p.kind != atTime {
			continue
		}
		offsets, err := client.Admin.ListOffsetsAfterMilli(ctx, p.n, req.topics...)
		if err := listError(client, "listing offsets by time", offsets, err); err != nil {
			return nil, err
		}
		times[p.n] = offsets
	}

	var spans []span
	ends.Each(func(end kadm.ListedOffset) {
		if len(req.partitions) > 0 && !slices.Contains(req.partitions, end.Partition) {
			return
		}
		start, _ := starts.Lookup(end.Topic, end.Partition)
		at := func(p position) (int64, bool) {
			timed, _ := times[p.n].Lookup(end.Topic, end.Partition)
			return p.resolve(bounds{start: start.Offset, end: end.Offset, atTime: timed.Offset})
		}
		s := span{topic: end.Topic, partition: end.Partition, end: forEver}
		var outside bool
		if s.next, outside = at(req.from); outside {
			note("%s partition %d holds offsets %d to %d; reading from %d\n", s.topic, s.partition, start.Offset, end.Offset, s.next)
		}
		if !req.follow {
			s.end, _ = at(req.until)
		}
		spans = append(spans, s)
	})
	if err := missing(req, spans); err != nil {
		return nil, err
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return spans, nil
}

func listError(client *bootstrap.Client, doing string, offsets kadm.ListedOffsets, err error) error {
	if err == nil {
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err != nil && err == nil {
				doing, err = doing+" of "+o.Topic, o.Err
			}
		})
	}
	return client.Explain(doing, err, "")
}

// missing names what was asked for and is not there.
func missing(req request, spans []span) error {
	var missing []error
	for _, topic := range req.topics {
		have := map[int32]bool{}
		for _, s := range spans {
			if s.topic == topic {
				have[s.partition] = true
			}
		}
		for _, p := range req.partitions {
			if !have[p] {
				missing = append(missing, fmt.Errorf("--partition: topic %s has no partition %d; see wadi topic describe %s", topic, p, topic))
			}
		}
		if len(have) == 0 && len(req.partitions) == 0 {
			missing = append(missing, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition))
		}
	}
	return errors.Join(missing...)
}

// offsets is the plan as kgo wants it, without what needs no reading.
func offsets(spans []span) map[string]map[int32]kgo.Offset {
	m := map[string]map[int32]kgo.Offset{}
	for _, s := range spans {
		if s.next >= s.end {
			continue
		}
		if m[s.topic] == nil {
			m[s.topic] = map[int32]kgo.Offset{}
		}
		m[s.topic][s.partition] = kgo.NewOffset().At(s.next)
	}
	return m
}
