// Package cluster answers what a Kafka client asks before anything else: which
// API versions there are, which brokers, which topics, and which broker to
// talk to for what (ApiVersions, Metadata, DescribeCluster,
// DescribeTopicPartitions, FindCoordinator). It also keeps this agent in the register of
// agents, from which those answers come.
//
// What it guarantees:
//
//   - Any agent may serve any request, so leaders and coordinators are advice.
//     The advice is the same on every agent that sees the same register (and has the same
//     zones), and moves little when agents come and go (routing.go, view.go, placement.go).
//   - Who is sent elsewhere is served there, and who can't go is served here (roles.go);
//     who was sent to an agent that is gone finds another under its node ID, for a while (gone.go).
//   - Leader epochs are one constant, and a topic that exists never answers
//     LEADER_NOT_AVAILABLE.
//   - The controller and every leader and coordinator is among the brokers listed.
//   - A topic is called unknown only after the metadata store said so.
//
// It refuses to know who holds which records.
package cluster
