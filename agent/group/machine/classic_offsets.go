package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *Classic) checkCommit(memberID string, instanceID *string, generation int32) *kerr.Error {
	if generation < 0 && memberID == "" && instanceID == nil && c.State != Empty {
		return kerr.UnknownMemberID // offsets of a group with members are theirs alone
	}
	if err := c.checkTxnCommit(memberID, instanceID, generation); err != nil {
		return err
	}
	if c.State == CompletingRebalance {
		return kerr.RebalanceInProgress // the member doesn't have its partitions yet; it tries again when it has
	}
	return nil
}

// checkTxnCommit lets pass what names no member at all: older producers don't.
func (c *Classic) checkTxnCommit(memberID string, instanceID *string, generation int32) *kerr.Error {
	if generation < 0 && (c.State == Empty || memberID == "" && instanceID == nil) {
		return nil
	}
	if _, err := c.knownMember(memberID, instanceID); err != nil {
		return err
	}
	if generation != c.Generation {
		return kerr.IllegalGeneration
	}
	return nil
}

// unusedSince is from when on an offset counts as unused; false if it is in use or may be.
func (c *Classic) unusedSince(topic string, committedAt time.Time) (time.Time, bool) {
	switch {
	case c.subscribed(topic):
		return time.Time{}, false
	case c.ProtocolType == "":
		return committedAt, true
	case c.State == Empty:
		return c.Since, true
	}
	// Members of other types may use any partition.
	return committedAt, c.State == Stable && c.ProtocolType == consumerProtocolType
}

// subscribed tells whether a member consumes the topic, and yes if one doesn't say it in a way that is understood.
func (c *Classic) subscribed(topic string) bool {
	if c.ProtocolType != consumerProtocolType {
		return false
	}
	for _, m := range c.Members {
		if topics, known := m.topics(c); !known || slices.Contains(topics, topic) {
			return true
		}
	}
	return false
}

// topics are the member's by the protocol that the group chose.
func (m *ClassicMember) topics(c *Classic) (topics []string, known bool) {
	if c.ProtocolType != consumerProtocolType {
		return nil, false
	}
	b, ok := m.metadata(c.Protocol)
	if !ok {
		return nil, false
	}
	topics, err := consumerTopics(b)
	return topics, err == nil
}

// consumerTopics reads the topics of a consumer's metadata. Its version 0 is how every later one begins, so what
// comes after is nobody's business here, whatever it is.
func consumerTopics(metadata []byte) ([]string, error) {
	if len(metadata) < 2 {
		return nil, errors.New("consumer metadata without a version")
	}
	if version := int16(binary.BigEndian.Uint16(metadata)); version < 0 {
		return nil, fmt.Errorf("consumer metadata of version %d", version)
	}
	var m kmsg.ConsumerMemberMetadata
	if err := m.ReadFrom(append([]byte{0, 0}, metadata[2:]...)); err != nil {
		return nil, fmt.Errorf("read consumer metadata: %w", err)
	}
	slices.Sort(m.Topics)
	return m.Topics, nil
}

// describe answers DescribeGroups. Metadata and protocol are told of a stable group only, since at other times they belong
// to a generation that isn't complete.
func (c *Classic) describe(groupID string) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.State, d.ProtocolType = groupID, c.State, c.ProtocolType
	if c.State == Stable {
		d.Protocol = c.Protocol
	}
	for _, m := range c.Members {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.ClientID, dm.ClientHost = m.ID, m.InstanceID, m.ClientID, m.ClientHost
		dm.MemberAssignment = notNil(m.Assignment)
		metadata, _ := m.metadata(d.Protocol)
		dm.ProtocolMetadata = notNil(metadata)
		d.Members = append(d.Members, dm)
	}
	return d
}
