package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// CreateTopic implements metadata.Topics.
func (s *Store) CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error) {
	created := metadata.Topic{ID: metadata.NewTopicID(), Name: topic.Name, Configs: topic.Configs, Internal: topic.Internal}
	if created.Configs == nil {
		created.Configs = map[string]string{}
	}
	err := s.sequenced(ctx, fmt.Sprintf("create topic %q", topic.Name), func(q *sequencer) error {
		var collision string
		found, err := scanOptional(q.QueryRowContext(q.ctx, `SELECT name FROM topics WHERE replace(name, '.', '_') = replace(?, '.', '_')`, topic.Name), &collision)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%w: %q", metadata.ErrTopicExists, collision)
		}
		if created.Partitions, err = q.addPartitions(topic.Partitions); err != nil {
			return err
		}
		created.CreatedAt = time.UnixMilli(millis(q.now))
		partitions, configs, err := encodeTopic(created)
		if err != nil {
			return err
		}
		if err := q.exec(`INSERT INTO topics (`+topicColumns+`) VALUES (?, ?, ?, ?, ?, ?)`,
			created.ID[:], created.Name, created.Internal, partitions, configs, millis(created.CreatedAt)); err != nil {
			return err
		}
		_, err = q.add(metadata.Commit{Topics: []uuid.UUID{created.ID}}, nil, nil)
		return err
	})
	if err != nil {
		return metadata.Topic{}, err
	}
	return created, nil
}

// encodeTopic returns the columns that hold JSON.
func encodeTopic(t metadata.Topic) (partitions, configs string, err error) {
	p, err := json.Marshal(t.Partitions)
	if err != nil {
		return "", "", err
	}
	c, err := json.Marshal(t.Configs)
	return string(p), string(c), err
}

// addPartitions takes IDs for new, empty partitions and writes their rows.
func (q *sequencer) addPartitions(count int32) ([]metadata.PartitionID, error) {
	if count < 1 {
		return nil, fmt.Errorf("%d partitions; want 1 or more", count)
	}
	if q.nextPartition > math.MaxInt32-count {
		return nil, errors.New("all partition IDs are used up")
	}
	ids := make([]metadata.PartitionID, count)
	for i := range ids {
		ids[i] = metadata.PartitionID(q.nextPartition + int32(i))
		if err := q.exec(`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) VALUES (?, 0, 0, -1)`, ids[i]); err != nil {
			return nil, err
		}
	}
	q.nextPartition += count
	return ids, nil
}

// changeTopic runs a change of one topic and stores its partitions and configs.
func (s *Store) changeTopic(ctx context.Context, doing string, id uuid.UUID, change func(*sequencer, *metadata.Topic) (changed bool, err error)) (metadata.Topic, error) {
	var topic metadata.Topic
	err := s.sequenced(ctx, doing, func(q *sequencer) error {
		found, err := q.topics(`SELECT `+topicColumns+` FROM topics WHERE id = ?`, id[:])
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("%w: ID %s", metadata.ErrUnknownTopic, id)
		}
		topic = found[0]
		if changed, err := change(q, &topic); err != nil || !changed {
			return err
		}
		partitions, configs, err := encodeTopic(topic)
		if err != nil {
			return err
		}
		if err := q.exec(`UPDATE topics SET partitions = ?, configs = ? WHERE id = ?`, partitions, configs, id[:]); err != nil {
			return err
		}
		_, err = q.add(metadata.Commit{Topics: []uuid.UUID{id}}, nil, nil)
		return err
	})
	if err != nil {
		return metadata.Topic{}, err
	}
	return topic, nil
}

// CreatePartitions implements metadata.Topics.
func (s *Store) CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error) {
	return s.changeTopic(ctx, "create partitions", id, func(q *sequencer, topic *metadata.Topic) (changed bool, err error) {
		have := int32(len(topic.Partitions))
		if count <= have {
			return false, fmt.Errorf("%w: topic %q has %d, asked for %d", metadata.ErrPartitionCount, topic.Name, have, count)
		}
		added, err := q.addPartitions(count - have)
		topic.Partitions = slices.Concat(topic.Partitions, added)
		return true, err
	})
}

// AlterTopicConfigs implements metadata.Topics.
func (s *Store) AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit metadata.ConfigEdit) (metadata.Topic, error) {
	return s.changeTopic(ctx, "alter topic configs", id, func(_ *sequencer, topic *metadata.Topic) (changed bool, err error) {
		set, err := edit(maps.Clone(topic.Configs))
		if err != nil || maps.Equal(set, topic.Configs) {
			return false, err
		}
		topic.Configs = set
		return true, nil
	})
}

// DeleteTopic implements metadata.Topics. One transaction removes the topic and
// its partitions: from then on nothing can find or extend their runs. Those
// follow in slices, between which commits get their turn. Should we die or fail
// there, the partitions stay noted in deleted_partitions, and the next deletion
// or ReclaimDeleted goes on.
func (s *Store) DeleteTopic(ctx context.Context, id uuid.UUID) error {
	_, err := s.changeTopic(ctx, "delete topic", id, func(q *sequencer, topic *metadata.Topic) (changed bool, err error) {
		for _, partition := range topic.Partitions {
			if err := q.exec(`DELETE FROM partitions WHERE id = ?`, partition); err != nil {
				return false, err
			}
			if err := q.exec(`DELETE FROM compactions WHERE partition_id = ?`, partition); err != nil {
				return false, err
			}
			if err := q.exec(`INSERT INTO deleted_partitions (id) VALUES (?)`, partition); err != nil {
				return false, err
			}
		}
		return true, q.exec(`DELETE FROM topics WHERE id = ?`, id[:])
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

// reclaimSlice is how many runs DeleteTopic removes in one transaction: some 50 ms of work.
const reclaimSlice = 5000

// ReclaimDeleted implements metadata.Topics.
func (s *Store) ReclaimDeleted(ctx context.Context, limit int) (removed int, err error) {
	err = s.change(ctx, "reclaim deleted topics", func(t *tx) error {
		n, err := t.removeRuns(`SELECT r.partition_id, r.base_offset FROM deleted_partitions d JOIN runs r ON r.partition_id = d.id LIMIT ?`, limit)
		if err != nil {
			return err
		}
		removed += n
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`DELETE FROM producers WHERE (partition_id, producer_id) IN (
				SELECT p.partition_id, p.producer_id FROM deleted_partitions d JOIN producers p ON p.partition_id = d.id LIMIT ?)`, []any{limit}},
			{`DELETE FROM deleted_partitions AS d WHERE NOT EXISTS (SELECT 1 FROM runs WHERE partition_id = d.id)
				AND NOT EXISTS (SELECT 1 FROM producers WHERE partition_id = d.id)`, nil},
		} {
			n, err := t.affected(step.query, step.args...)
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}
