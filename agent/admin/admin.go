// Package admin answers the APIs by which tools create, change and describe what there
// is: topics and their records, configs, and much that a Kafka cluster has and this system
// has not (replicas, elections, a quorum, ACLs, quotas), where the answer says so in Kafka's words.
//
// What it guarantees:
//
//   - Each item of a request gets its own result, with Kafka's error code
//     and, where Kafka has them, its words; one item's failure harms no other.
//   - What is answered with success is in the metadata store, and this
//     agent's catalog shows it. Other agents follow within a moment.
//   - Known configs without an effect here are kept and shown, unknown ones refused.
//
// There are no replicas: any replication factor of 1 or more and any assignment
// to known brokers is accepted when a topic is made, and every partition is shown on the brokers to which
// routing may send the client, mostly one. So
// tools that ask for three work, and what is shown is true. For the same reason a reassignment is
// refused, since it would not show, and an election is never needed.
//
// Broker configs that Kafka lets change over the wire can be changed for one agent or
// for all, and then act on all at once; the others are settings of the agents. Groups and client metrics
// subscriptions have configs of their own. The level of an agent's log, its one
// logger's, lasts until the agent restarts.
//
// It refuses to know who may do what, and where topics are stored.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// Topics is what these APIs ask of the topic catalog.
type Topics interface {
	// TopicByName and TopicByID answer metadata.ErrUnknownTopic only when the
	// store confirmed it; TopicNow asks the store in any case.
	TopicByName(ctx context.Context, name string) (metadata.Topic, error)
	TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error)
	TopicNow(ctx context.Context, name string) (metadata.Topic, error)
	// AllTopics returns all topics by name.
	AllTopics(ctx context.Context) ([]metadata.Topic, error)
	// Lookup returns those of the topics that exist.
	Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error)

	CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error)
	DeleteTopic(ctx context.Context, id uuid.UUID) error
	CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error)
	AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit metadata.ConfigEdit) (metadata.Topic, error)
}

// Records is what these APIs ask of the records and producers in partitions: see
// metadata.Records and metadata.Producers.
type Records interface {
	DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error)
	PartitionSizes(ctx context.Context, partitions []metadata.PartitionID) ([]int64, error)
	ActiveProducers(ctx context.Context, partitions []metadata.PartitionID) ([][]metadata.ActiveProducer, error)
}

// Settings is what is set over the wire on everything but topics.
type Settings interface {
	// Broker is what this agent works by, BrokerOf what another does. Don't change it.
	Broker() *configs.Broker
	BrokerOf(nodeID int32) configs.Broker
	// Of returns what is set on a resource. Don't change it.
	Of(r metadata.ConfigResource) map[string]string
	// Names returns the resources of a kind on which something is set, sorted.
	Names(kind metadata.ConfigKind) []string
	// Alter changes what is set on a resource, after which Of and Broker show it.
	// Errors: the edit's, the store's.
	Alter(ctx context.Context, r metadata.ConfigResource, edit metadata.ConfigEdit) error
	// UsualLevel is the level of an agent's log where none is set, in Kafka's spelling.
	UsualLevel() string
}

// Agents is the view of the register: which broker IDs there are.
type Agents interface {
	Alive() []metadata.Agent
	Self() metadata.Agent
	// Place tells where the client is shown the partitions of topics: the brokers of a partition's replicas,
	// its leader first, and whether that is this agent or one behind the same address.
	Place(client protocol.Client) func(topic uuid.UUID, partition int32) (replicas []int32, here bool)
	// Brokers are the IDs of the brokers that the client is shown, ascending.
	Brokers(client protocol.Client) []int32
	// Controller is the broker that all are told to take for the controller, and where the client reaches it.
	Controller(client protocol.Client) (nodeID int32, at metadata.Listener)
}

// Feed tells how far the metadata store's log of changes goes.
type Feed interface {
	LastSeq(ctx context.Context) (int64, error)
}

// Admin answers the APIs.
type Admin struct {
	topics   Topics
	records  Records
	agents   Agents
	settings Settings
	feed     Feed
	facts    map[string]string
	log      *slog.Logger

	// sizing is held by the request for which the store sums up sizes.
	sizing chan struct{}
}

// New makes the handlers. The facts are what the broker configs that can't be set
// report of this agent (listeners, log.dirs, max.connections ...), besides those that the
// register tells.
func New(topics Topics, records Records, agents Agents, settings Settings, feed Feed, facts map[string]string, log *slog.Logger) *Admin {
	return &Admin{topics: topics, records: records, agents: agents, settings: settings, feed: feed, facts: facts, log: log, sizing: make(chan struct{}, 1)}
}

const (
	// defaultTimeout holds for requests that name none, maxTimeout for all.
	defaultTimeout = 30 * time.Second
	maxTimeout     = time.Minute
)

// withTimeout bounds a request's work by the timeout that it names in ms.
func withTimeout(ctx context.Context, ms int32) (context.Context, context.CancelFunc) {
	timeout := time.Duration(ms) * time.Millisecond
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, min(timeout, maxTimeout))
}

// refusal is why an item of a request was not done: Kafka's code, and a message for the user.
type refusal struct {
	code    int16
	message string
}

// Error lets a refusal pass through what can only return errors.
func (r *refusal) Error() string { return r.message }

func refuse(e *kerr.Error, format string, args ...any) *refusal {
	return &refusal{code: e.Code, message: fmt.Sprintf(format, args...)}
}

// refused turns an error into a refusal. Messages of stores stay here: they
// may name hosts and users.
func (a *Admin) refused(doing, item string, err error) *refusal {
	a.report(doing, item, err)
	code := errcode.OfController(err)
	return &refusal{code: code, message: kerr.TypedErrorForCode(code).Description}
}

// report logs an error that an operator can act on, as those of clients are not.
func (a *Admin) report(doing, item string, err error) {
	switch {
	case !errcode.Known(err):
		a.log.Error("an admin request failed", "doing", doing, "item", item, "error", err)
	case errors.Is(err, metadata.ErrUnavailable), errors.Is(err, metadata.ErrOutcomeUnknown):
		a.log.Warn("the metadata store failed an admin request; its client is told to retry", "doing", doing, "item", item, "error", err)
	}
}

// existing returns a topic, or why it can't; unknown is a format for its name.
func (a *Admin) existing(ctx context.Context, doing, name, unknown string) (metadata.Topic, *refusal) {
	topic, err := metadata.Topic{}, metadata.ErrUnknownTopic
	if protocol.CheckTopicName(name) == nil {
		topic, err = a.topics.TopicByName(ctx, name)
	}
	switch {
	case errors.Is(err, metadata.ErrUnknownTopic):
		return topic, refuse(kerr.UnknownTopicOrPartition, unknown, name)
	case err != nil:
		return topic, a.refused(doing, name, err)
	}
	return topic, nil
}

// checkReplicas checks the replicas of manually assigned partitions. They must be
// brokers that clients can know of; which ones has no effect.
func (a *Admin) checkReplicas(partitions [][]int32) *refusal {
	for _, replicas := range partitions {
		switch {
		case len(replicas) == 0:
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
		case len(replicas) != len(partitions[0]):
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
				len(replicas), len(partitions[0]))
		}
		sorted := slices.Sorted(slices.Values(replicas))
		for i, id := range sorted {
			if i > 0 && id == sorted[i-1] {
				return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
			}
			if _, known := a.agentOf(id); !known {
				return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
			}
		}
	}
	return nil
}

// overLimit refuses more partitions than a topic, or a request, may have.
func (a *Admin) overLimit(partitions int64) *refusal {
	if limit := a.settings.Broker().MaxPartitionsPerTopic; partitions > int64(limit) {
		return refuse(kerr.PolicyViolation, "Excessively large number of partitions: %d, while %s is %d for a topic and for a request.",
			partitions, configs.MaxPartitionsPerTopic, limit)
	}
	return nil
}

// invalidName says in Kafka's words what is wrong with a topic's name.
func invalidName(err error) *refusal {
	_, detail, found := strings.Cut(err.Error(), ": ")
	if !found {
		detail = err.Error()
	}
	return refuse(kerr.InvalidTopicException, "Topic name is invalid: %s", detail)
}

// duplicates returns the keys that occur more than once.
func duplicates[T any, K comparable](items []T, key func(T) K) map[K]bool {
	count := make(map[K]int, len(items))
	for _, item := range items {
		count[key(item)]++
	}
	twice := map[K]bool{}
	for k, n := range count {
		if n > 1 {
			twice[k] = true
		}
	}
	return twice
}
