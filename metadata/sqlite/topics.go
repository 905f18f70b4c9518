package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// topicColumns and scanTopic belong together.
const topicColumns = `id, name, internal, partitions, configs, created_at`

func scanTopic(row interface{ Scan(...any) error }) (metadata.Topic, error) {
	var t metadata.Topic
	var partitions, configs string
	var createdAt int64
	if err := row.Scan(&t.ID, &t.Name, &t.Internal, &partitions, &configs, &createdAt); err != nil {
		return t, err
	}
	t.CreatedAt = time.UnixMilli(createdAt)
	if err := json.Unmarshal([]byte(partitions), &t.Partitions); err != nil {
		return t, err
	}
	return t, json.Unmarshal([]byte(configs), &t.Configs)
}

// ListTopics implements metadata.Topics.
func (s *Store) ListTopics(ctx context.Context) (topics []metadata.Topic, seq int64, err error) {
	err = s.read(ctx, "list topics", func(t *tx) error {
		if err := t.stmt(s.prepared.lastSeq).QueryRowContext(t.ctx).Scan(&seq); err != nil {
			return err
		}
		topics, err = t.topics(`SELECT ` + topicColumns + ` FROM topics ORDER BY name`)
		return err
	})
	return topics, seq, err
}

// TopicsByID implements metadata.Topics.
func (s *Store) TopicsByID(ctx context.Context, ids []uuid.UUID) ([]metadata.Topic, error) {
	keys := make([]any, len(ids))
	for i := range ids {
		keys[i] = ids[i][:]
	}
	return s.topicsBy(ctx, `SELECT `+topicColumns+` FROM topics WHERE id = ?`, keys)
}

// TopicsByName implements metadata.Topics.
func (s *Store) TopicsByName(ctx context.Context, names []string) ([]metadata.Topic, error) {
	keys := make([]any, len(names))
	for i := range names {
		keys[i] = names[i]
	}
	return s.topicsBy(ctx, `SELECT `+topicColumns+` FROM topics WHERE name = ?`, keys)
}

// topicsBy runs the query for each key, on one snapshot.
func (s *Store) topicsBy(ctx context.Context, query string, keys []any) (topics []metadata.Topic, err error) {
	err = s.read(ctx, "read topics", func(t *tx) error {
		for _, key := range keys {
			found, err := t.topics(query, key)
			if err != nil {
				return err
			}
			topics = append(topics, found...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return topics, nil
}

func (t *tx) topics(query string, args ...any) (topics []metadata.Topic, err error) {
	rows, err := t.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		topic, err := scanTopic(rows)
		if err != nil {
			return nil, err
		}
		topics = append(topics, topic)
	}
	return topics, rows.Err()
}
