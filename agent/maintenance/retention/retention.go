// Package retention drops records that their topics' configs let go: those older than
// retention.ms, and the oldest of partitions that hold more than retention.bytes.
//
// It only moves log starts, by the same call of the metadata store as a client that
// deletes records: consumers see nothing else, and every agent learns of it from the
// feed. What lies before a log start is removed, and its files deleted, by others.
//
// As in Kafka:
//
//   - Only the front of a partition goes, run by run, as Kafka drops segments: never one in
//     the middle, however old. Where Kafka would first roll the active segment, there is
//     nothing to roll: the newest run goes as soon as it is due, and the partition is empty.
//   - A topic without "delete" in its cleanup.policy keeps everything.
//   - retention.bytes counts batches as producers sent them and leaves at least so many bytes.
//
// Records are as old as their timestamps say, by the metadata store's clock, never an agent's.
// Configs hold from the next round on. A topic whose configs this version can't read (a newer
// one stored them) keeps its records; while a stored broker config is not in force on an agent, which may be the
// default of any topic, package agent lets it do no round.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	// slice is the number of partitions that one query asks about and one change moves:
	// the change holds up all commits, for some milliseconds.
	slice = 500
	// callTimeout bounds one call of the store.
	callTimeout = 30 * time.Second
	// lease is taken for half the time between two rounds of an agent, so that mostly one agent of all looks.
	lease = "retention"
)

// Store is what retention asks of the metadata store.
type Store interface {
	Now(ctx context.Context) (time.Time, error)
	RetainedFrom(ctx context.Context, queries []metadata.RetentionQuery) ([]int64, error)
	Bounds(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Bounds, error)
	metadata.Leases
}

// Records is what moves log starts: the metadata store, with the agent's own fetches told.
type Records interface {
	DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error)
}

// Topics knows all topics.
type Topics interface {
	AllTopics(ctx context.Context) ([]metadata.Topic, error)
}

// Job returns the job "retention". holder is the agent's own in leases. broker returns the
// settings that are the defaults of topic configs now, and say how often to look
// (log.retention.check.interval.ms).
func Job(store Store, records Records, topics Topics, broker func() *configs.Broker, holder uuid.UUID, log *slog.Logger) maintenance.Job {
	r := &retention{
		store: store, records: records, topics: topics, broker: broker, holder: holder, log: log,
		unreadable: map[uuid.UUID]bool{},
	}
	return maintenance.Job{Name: "retention", Every: r.every, Round: r.round}
}

// retention is used by one round at a time.
type retention struct {
	store   Store
	records Records
	topics  Topics
	broker  func() *configs.Broker
	holder  uuid.UUID
	log     *slog.Logger
	// unreadable are the topics of the last round whose configs could not be read:
	// each is reported once.
	unreadable map[uuid.UUID]bool
}

func (r *retention) every() time.Duration {
	return time.Duration(r.broker().RetentionCheckIntervalMs) * time.Millisecond
}

// round looks at all partitions, if no other agent did lately. Cut off anywhere, it
// leaves some partitions for the next round, and nothing else: a log start moves or it
// doesn't, and moves no further when it is asked to once more.
func (r *retention) round(ctx context.Context, p *maintenance.Progress) (bool, error) {
	mine, err := r.store.AcquireLease(ctx, r.holder, lease, r.every()/2)
	if err != nil {
		return false, fmt.Errorf("acquire lease %s: %w", lease, err)
	}
	if !mine {
		p.Elsewhere()
		return false, nil
	}
	return false, r.look(ctx, p)
}

func (r *retention) look(ctx context.Context, p *maintenance.Progress) error {
	queries, err := r.queries(ctx)
	if err != nil {
		return err
	}
	if len(queries) == 0 {
		p.Waiting(0)
		return nil
	}
	// Where the round begins differs, so that no partition is always behind one that fails.
	turn := rand.IntN(len(queries))
	var done dropped
	for some := range slices.Chunk(slices.Concat(queries[turn:], queries[:turn]), slice) {
		if err := r.drop(ctx, p, some, &done); err != nil {
			return fmt.Errorf("drop what retention lets go of %d partitions: %w", len(some), err)
		}
	}
	p.Waiting(0)
	if done.partitions > 0 {
		r.log.Info("retention dropped records", "partitions", done.partitions, "records", done.records)
	}
	return nil
}

// queries asks about each partition that has a limit.
func (r *retention) queries(ctx context.Context) ([]metadata.RetentionQuery, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	topics, err := r.topics.AllTopics(call)
	if err != nil {
		return nil, err
	}
	now, err := r.store.Now(call)
	if err != nil {
		return nil, fmt.Errorf("ask the metadata store for the time: %w", err)
	}
	broker, unreadable := r.broker(), map[uuid.UUID]bool{}
	var queries []metadata.RetentionQuery
	for _, topic := range topics {
		// Not the catalog's reading of them, which takes defaults for what it
		// can't read: for retention that would be a week, then the records are gone.
		config, err := configs.ParseTopic(topic.Configs, *broker)
		if err != nil {
			if unreadable[topic.ID] = true; !r.unreadable[topic.ID] {
				r.log.Error("a topic's configs are not understood, so retention leaves its records alone", "topic", topic.Name, "error", err)
			}
			continue
		}
		before, bytes := limits(config, now)
		if before < 0 && bytes < 0 {
			continue
		}
		for _, partition := range topic.Partitions {
			queries = append(queries, metadata.RetentionQuery{Partition: partition, Before: before, MaxBytes: bytes})
		}
	}
	r.unreadable = unreadable
	return queries, nil
}

// limits are those of a [metadata.RetentionQuery].
func limits(config configs.Topic, now time.Time) (before, bytes int64) {
	if !config.CleanupDelete {
		return -1, -1
	}
	before, bytes = -1, -1
	// A retention of more than the time since 1970 is none.
	if ms := now.UnixMilli(); config.RetentionMs <= ms {
		before = ms - config.RetentionMs
	}
	if config.RetentionBytes != configs.Unlimited {
		bytes = config.RetentionBytes
	}
	return before, bytes
}

// dropped is what a round did.
type dropped struct{ partitions, records int64 }

// drop moves the log starts of those partitions that hold more than they may.
func (r *retention) drop(ctx context.Context, p *maintenance.Progress, queries []metadata.RetentionQuery, done *dropped) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	from, err := r.store.RetainedFrom(call, queries)
	if err != nil {
		return err
	}
	// Most partitions have nothing to drop most of the time, and a change that changes nothing
	// would hold up commits all the same.
	var asked []metadata.PartitionID
	var wanted []int64
	for i, q := range queries {
		if from[i] > 0 {
			asked, wanted = append(asked, q.Partition), append(wanted, from[i])
		}
	}
	if len(asked) == 0 {
		return nil
	}
	bounds, err := r.store.Bounds(call, asked)
	if err != nil {
		return err
	}
	var deletions []metadata.RecordsDeletion
	records := int64(0)
	for i, b := range bounds {
		if b.Exists && wanted[i] > b.LogStartOffset {
			deletions = append(deletions, metadata.RecordsDeletion{Partition: asked[i], Before: wanted[i]})
			records += wanted[i] - b.LogStartOffset
		}
	}
	if len(deletions) == 0 {
		return nil
	}
	p.Waiting(int64(len(deletions)))
	deleted, err := r.records.DeleteRecords(call, deletions)
	if err != nil {
		return err
	}
	for i, d := range deleted.Partitions {
		// Partitions that are gone need no retention. Anything else is our error.
		if d.Err != nil && !errors.Is(d.Err, metadata.ErrUnknownPartition) {
			return fmt.Errorf("partition %d: %w", deletions[i].Partition, d.Err)
		}
	}
	p.Records(records)
	done.partitions += int64(len(deletions))
	done.records += records
	return nil
}
