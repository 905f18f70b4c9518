package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// lookupTimeout bounds how long a request waits for the metadata store. Clients give up
// a Metadata request after 10 s or more.
const lookupTimeout = 5 * time.Second

// Topics is what these APIs ask of the topic catalog.
type Topics interface {
	// AllTopics returns all topics by name.
	AllTopics(ctx context.Context) ([]metadata.Topic, error)
	// Lookup returns those of the topics that exist; with an error those that
	// are known, and nothing is known of the others.
	Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error)
	// RecentlyDeleted tells whether a topic of this name went within the last seconds.
	RecentlyDeleted(name string) bool
	CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error)
}

// Agents is the view of the register that answers are made from. [Membership] keeps it.
type Agents interface {
	// Alive returns the agents that take clients, by node ID, never none.
	Alive() []metadata.Agent
	// Self is this agent.
	Self() metadata.Agent
}

// Cluster answers the APIs about the cluster.
type Cluster struct {
	topics    Topics
	router    *Router
	broker    configs.Broker
	features  func() protocol.FinalizedFeatures
	clusterID string
	log       *slog.Logger

	creating singleflight.Group // auto-creation by topic name
}

// New makes the handlers. router tells whom clients are sent to; features returns the levels in force; the cluster ID is the
// metadata store's.
func New(topics Topics, router *Router, broker configs.Broker, features func() protocol.FinalizedFeatures, clusterID string, log *slog.Logger) *Cluster {
	return &Cluster{topics: topics, router: router, broker: broker, features: features, clusterID: clusterID, log: log}
}

// Authorized operations as bits by AclOperation's number (KIP-430): what an
// anonymous client may do without an authorizer, which is everything.
const (
	// topicOperations: read, write, create, delete, alter, describe,
	// describe configs, alter configs.
	topicOperations = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	// clusterOperations: create, alter, describe, cluster action, describe
	// configs, alter configs, idempotent write.
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	// operationsNotAsked is the value of the field when the client didn't ask.
	operationsNotAsked = -1 << 31
)

// operations returns the bits when they were asked for.
func operations(asked bool, bits int32) int32 {
	if asked {
		return bits
	}
	return operationsNotAsked
}

// rack is a broker's zone in Kafka's words, null without one.
func rack(b Broker) *string {
	if b.Zone == "" {
		return nil
	}
	return &b.Zone
}
