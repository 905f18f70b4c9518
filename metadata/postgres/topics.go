package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// topicColumns and scanTopic belong together.
const topicColumns = `id, name, internal, partitions, configs, created_at`

func scanTopic(row pgx.CollectableRow) (metadata.Topic, error) {
	var t metadata.Topic
	var partitions []int32
	err := row.Scan(&t.ID, &t.Name, &t.Internal, &partitions, &t.Configs, &t.CreatedAt)
	t.Partitions = partitionIDs(partitions)
	return t, err
}

// ListTopics implements metadata.Topics: one statement, hence one snapshot.
func (s *Store) ListTopics(ctx context.Context) ([]metadata.Topic, int64, error) {
	var topics []metadata.Topic
	var seq int64
	err := s.read(ctx, "list topics", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT s.last_seq, t.id IS NOT NULL, COALESCE(t.id, '00000000-0000-0000-0000-000000000000'), COALESCE(t.name, ''),
				COALESCE(t.internal, false), COALESCE(t.partitions, '{}'), COALESCE(t.configs, '{}'), COALESCE(t.created_at, 'epoch')
			FROM sequencer s LEFT JOIN topics t ON true
			ORDER BY t.name`)
		if err != nil {
			return err
		}
		topics = nil
		var exists bool
		var t metadata.Topic
		var partitions []int32
		_, err = pgx.ForEachRow(rows, []any{&seq, &exists, &t.ID, &t.Name, &t.Internal, &partitions, &t.Configs, &t.CreatedAt}, func() error {
			if exists {
				t.Partitions = partitionIDs(partitions)
				topics = append(topics, t)
			}
			// The next row is not scanned into this one's map.
			t = metadata.Topic{}
			return nil
		})
		return err
	})
	return topics, seq, err
}

// TopicsByID implements metadata.Topics.
func (s *Store) TopicsByID(ctx context.Context, ids []uuid.UUID) ([]metadata.Topic, error) {
	return queryAll(ctx, s, "read topics", scanTopic, `SELECT `+topicColumns+` FROM topics WHERE id = ANY($1::uuid[])`, uuidArray(ids))
}

// TopicsByName implements metadata.Topics.
func (s *Store) TopicsByName(ctx context.Context, names []string) ([]metadata.Topic, error) {
	return queryAll(ctx, s, "read topics", scanTopic, `SELECT `+topicColumns+` FROM topics WHERE name = ANY($1::text[])`, names)
}

func partitionIDs(ids []int32) []metadata.PartitionID {
	out := make([]metadata.PartitionID, len(ids))
	for i, id := range ids {
		out[i] = metadata.PartitionID(id)
	}
	return out
}
