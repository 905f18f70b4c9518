package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// CreateTopic implements metadata.Topics.
func (s *Store) CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error) {
	created := metadata.Topic{ID: metadata.NewTopicID(), Name: topic.Name, Configs: topic.Configs, Internal: topic.Internal}
	if created.Configs == nil {
		created.Configs = map[string]string{}
	}
	var collision string
	err := s.change(ctx, s.pool, fmt.Sprintf("create topic %q", topic.Name), func(b *pgx.Batch) {
		collision = ""
		b.Queue(`SELECT COALESCE(max(name), '') FROM topics WHERE replace(name, '.', '_') COLLATE "C" = replace($1, '.', '_')`, topic.Name).QueryRow(func(row pgx.Row) error {
			return row.Scan(&collision)
		})
	}, func(q *sequencer, b *pgx.Batch) error {
		if collision != "" {
			return fmt.Errorf("%w: %q", metadata.ErrTopicExists, collision)
		}
		var err error
		if created.Partitions, err = addPartitions(q, b, topic.Partitions); err != nil {
			return err
		}
		created.CreatedAt = q.now
		configs, err := json.Marshal(created.Configs)
		if err != nil {
			return err
		}
		b.Queue(`INSERT INTO topics (`+topicColumns+`) VALUES ($1, $2, $3, $4, $5::jsonb, $6)`,
			created.ID, created.Name, created.Internal, partitionArray(created.Partitions), string(configs), created.CreatedAt)
		q.add(metadata.Commit{Topics: []uuid.UUID{created.ID}}, nil, nil)
		return nil
	})
	if err != nil {
		return metadata.Topic{}, err
	}
	return created, nil
}

// addPartitions takes IDs for new, empty partitions and queues their rows.
func addPartitions(q *sequencer, b *pgx.Batch, count int32) ([]metadata.PartitionID, error) {
	if count < 1 {
		return nil, fmt.Errorf("%d partitions; want 1 or more", count)
	}
	if q.nextPartition > math.MaxInt32-count {
		return nil, errors.New("all partition IDs are used up")
	}
	ids := make([]metadata.PartitionID, count)
	for i := range ids {
		ids[i] = metadata.PartitionID(q.nextPartition + int32(i))
	}
	q.nextPartition += count
	b.Queue(`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) SELECT id, 0, 0, -1 FROM unnest($1::int4[]) AS v (id)`, partitionArray(ids))
	return ids, nil
}

// changeTopic runs a change of one topic as it stands under the lock. What
// queues nothing changed nothing.
func (s *Store) changeTopic(ctx context.Context, doing string, id uuid.UUID, write func(*sequencer, *pgx.Batch, *metadata.Topic) error) (metadata.Topic, error) {
	var topic metadata.Topic
	err := s.change(ctx, s.pool, doing, func(b *pgx.Batch) {
		b.Queue(`SELECT `+topicColumns+` FROM topics WHERE id = $1`, id).Query(func(rows pgx.Rows) error {
			var err error
			topic, err = pgx.CollectExactlyOneRow(rows, scanTopic)
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
	}, func(q *sequencer, b *pgx.Batch) error {
		if topic.ID != id {
			return fmt.Errorf("%w: ID %s", metadata.ErrUnknownTopic, id)
		}
		if err := write(q, b, &topic); err != nil || b.Len() == 0 {
			return err
		}
		q.add(metadata.Commit{Topics: []uuid.UUID{id}}, nil, nil)
		return nil
	})
	if err != nil {
		return metadata.Topic{}, err
	}
	return topic, nil
}

// CreatePartitions implements metadata.Topics.
func (s *Store) CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error) {
	return s.changeTopic(ctx, "create partitions", id, func(q *sequencer, b *pgx.Batch, topic *metadata.Topic) error {
		have := int32(len(topic.Partitions))
		if count <= have {
			return fmt.Errorf("%w: topic %q has %d, asked for %d", metadata.ErrPartitionCount, topic.Name, have, count)
		}
		added, err := addPartitions(q, b, count-have)
		if err != nil {
			return err
		}
		topic.Partitions = slices.Concat(topic.Partitions, added)
		b.Queue(`UPDATE topics SET partitions = $2 WHERE id = $1`, id, partitionArray(topic.Partitions))
		return nil
	})
}

// AlterTopicConfigs implements metadata.Topics.
func (s *Store) AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit metadata.ConfigEdit) (metadata.Topic, error) {
	return s.changeTopic(ctx, "alter topic configs", id, func(_ *sequencer, b *pgx.Batch, topic *metadata.Topic) error {
		set, err := edit(maps.Clone(topic.Configs))
		if err != nil || maps.Equal(set, topic.Configs) {
			return err
		}
		topic.Configs = set
		configs, err := json.Marshal(set)
		if err != nil {
			return err
		}
		b.Queue(`UPDATE topics SET configs = $2::jsonb WHERE id = $1`, id, string(configs))
		return nil
	})
}

// DeleteTopic implements metadata.Topics.
//
// Under the lock only the topic and its partitions go, however many runs they
// have: from then on nothing can find or extend those. The runs follow in slices
// without the lock. Should we die or fail there, the partitions stay noted in
// deleted_partitions, and the next deletion or ReclaimDeleted goes on.
func (s *Store) DeleteTopic(ctx context.Context, id uuid.UUID) error {
	_, err := s.changeTopic(ctx, "delete topic", id, func(_ *sequencer, b *pgx.Batch, topic *metadata.Topic) error {
		partitions := partitionArray(topic.Partitions)
		b.Queue(`DELETE FROM topics WHERE id = $1`, id)
		b.Queue(`DELETE FROM partitions WHERE id = ANY($1::int4[])`, partitions)
		b.Queue(`DELETE FROM compactions WHERE partition_id = ANY($1::int4[])`, partitions)
		b.Queue(`INSERT INTO deleted_partitions (id) SELECT * FROM unnest($1::int4[])`, partitions)
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		// The topic is deleted: an error here must not say that it is not.
		if n, err := s.ReclaimDeleted(ctx, reclaimSlice); err != nil || n == 0 {
			return nil
		}
	}
}
