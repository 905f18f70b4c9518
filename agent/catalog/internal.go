package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
)

// internalTopics are Kafka's own. Nothing is ever written to them here: groups
// and transactions live in the metadata store. Lag tools and some clients
// look for the topics, so they exist, empty, with Kafka's configs. One partition
// suffices for that; Kafka has 50.
var internalTopics = []metadata.NewTopic{
	{Name: "__consumer_offsets", Partitions: 1, Internal: true, Configs: map[string]string{
		"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}},
	{Name: "__transaction_state", Partitions: 1, Internal: true, Configs: map[string]string{
		"cleanup.policy": "compact", "compression.type": "uncompressed", "segment.bytes": "104857600", "min.insync.replicas": "1"}},
}

// EnsureInternalTopics creates Kafka's internal topics where they are missing.
// Agents that start together may all try; one succeeds.
func (c *Catalog) EnsureInternalTopics(ctx context.Context) error {
	for _, topic := range internalTopics {
		_, err := c.TopicByName(ctx, topic.Name)
		if errors.Is(err, metadata.ErrUnknownTopic) {
			_, err = c.CreateTopic(ctx, topic)
		}
		if err != nil && !errors.Is(err, metadata.ErrTopicExists) {
			return fmt.Errorf("create internal topic %s: %w", topic.Name, err)
		}
	}
	return nil
}
