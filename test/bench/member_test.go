package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// peer is a connection that asks one thing at a time.
type peer struct {
	conn   net.Conn
	reader *bufio.Reader
	frame  []byte
}

func dialPeer(ctx context.Context, address string) (*peer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// Whoever is waiting for an answer when the benchmark is over need not wait on.
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &peer{conn: conn, reader: bufio.NewReaderSize(conn, 512)}, nil
}

func (p *peer) close() { _ = p.conn.Close() }

var format = kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))

// ask sends a request and returns its answer.
func ask[Resp kmsg.Response](p *peer, req kmsg.Request) (resp Resp, err error) {
	p.frame = format.AppendRequest(p.frame[:0], req, 1)
	if _, err := p.conn.Write(p.frame); err != nil {
		return resp, err
	}
	body, err := readFrame(p.reader)
	if err != nil {
		return resp, err
	}
	reader := kbin.Reader{Src: body}
	reader.Int32() // correlation ID
	if req.IsFlexible() {
		kmsg.SkipTags(&reader)
	}
	resp = req.ResponseKind().(Resp)
	return resp, resp.ReadFrom(reader.Src)
}

// retryPause is how long clients wait before they ask again.
const retryPause = 100 * time.Millisecond

// again tells whether an answer says that the group can't be served at the moment:
// then clients wait for a moment and ask again. They look for another coordinator
// first, which any agent is.
func (s *seat) again(code int16) bool {
	switch code {
	case kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code:
		s.retries.Add(1)
		<-time.After(retryPause)
		return true
	}
	return false
}

// classicMember is one of the classic protocol. Its leader gives each member 10
// partitions, by the order in which it is told of them.
type classicMember struct {
	seat
	id         string
	generation int32
	assigned   []int32
	offset     int64
}

func newClassicMember(s seat) member { return &classicMember{seat: s} }

func (m *classicMember) join() error {
	for {
		members, leads, err := m.joinGroup()
		if err == nil {
			err = m.sync(members, leads)
		}
		if !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
	}
}

func (m *classicMember) joinGroup() (members []string, leads bool, err error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.ProtocolType = m.group, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 300_000
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{fleetTopic}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", metadata.AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	resp, err := ask[*kmsg.JoinGroupResponse](m.peer, req)
	if err != nil {
		return nil, false, err
	}
	m.id, m.generation = resp.MemberID, resp.Generation
	if resp.ErrorCode == kerr.MemberIDRequired.Code || m.again(resp.ErrorCode) {
		return m.joinGroup()
	}
	for _, other := range resp.Members {
		members = append(members, other.MemberID)
	}
	return members, resp.LeaderID == m.id, kerr.ErrorForCode(resp.ErrorCode)
}

func (m *classicMember) sync(members []string, leads bool) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for i, id := range members {
		if !leads {
			break
		}
		assignment := kmsg.NewConsumerMemberAssignment()
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic, topic.Partitions = fleetTopic, partitionRange(i*memberPartitions, (i+1)*memberPartitions)
		assignment.Topics = append(assignment.Topics, topic)
		given := kmsg.NewSyncGroupRequestGroupAssignment()
		given.MemberID, given.MemberAssignment = id, assignment.AppendTo(nil)
		req.GroupAssignment = append(req.GroupAssignment, given)
	}
	resp, err := ask[*kmsg.SyncGroupResponse](m.peer, req)
	if err != nil {
		return err
	}
	if m.again(resp.ErrorCode) {
		return m.sync(members, leads)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	var assignment kmsg.ConsumerMemberAssignment
	if err := assignment.ReadFrom(resp.MemberAssignment); err != nil {
		return err
	}
	if len(assignment.Topics) != 1 || len(assignment.Topics[0].Partitions) != memberPartitions {
		return fmt.Errorf("%s was given %v", m.id, assignment.Topics)
	}
	m.assigned = assignment.Topics[0].Partitions
	return nil
}

func (m *classicMember) beat() (moved bool, err error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	resp, err := ask[*kmsg.HeartbeatResponse](m.peer, req)
	if err != nil {
		return false, err
	}
	if m.again(resp.ErrorCode) {
		return m.beat()
	}
	if resp.ErrorCode == kerr.RebalanceInProgress.Code {
		return true, m.join()
	}
	return false, kerr.ErrorForCode(resp.ErrorCode)
}

// commit commits the next offset of each of its partitions.
func (m *classicMember) commit() error {
	m.offset++
	for {
		resp, err := ask[*kmsg.OffsetCommitResponse](m.peer, m.commitRequest())
		if err != nil {
			return err
		}
		// A commit is written as a whole or not at all.
		if code := resp.Topics[0].Partitions[0].ErrorCode; !m.again(code) {
			return kerr.ErrorForCode(code)
		}
	}
}

func (m *classicMember) commitRequest() *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(8)
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = fleetTopic
	for _, p := range m.assigned {
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = p, m.offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// consumerMember is one of the consumer protocol (KIP-848). It does what it is told
// at once, and says so. After an error it says all there is to say, as Java's do.
type consumerMember struct {
	seat
	id    string
	epoch int32
	owned []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func newConsumerMember(s seat) member { return &consumerMember{seat: s, id: uuid.NewString()} }

func (m *consumerMember) join() error {
	m.epoch, m.owned = 0, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	_, err := m.send(m.everything())
	return err
}

func (m *consumerMember) beat() (moved bool, err error) { return m.send(m.request()) }

func (m *consumerMember) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(1)
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group, m.id, m.epoch, -1
	return req
}

func (m *consumerMember) everything() *kmsg.ConsumerGroupHeartbeatRequest {
	req := m.request()
	req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 300_000, []string{fleetTopic}, m.owned
	return req
}

// send sends a heartbeat, and further ones to confirm what the answers give.
func (m *consumerMember) send(req *kmsg.ConsumerGroupHeartbeatRequest) (moved bool, err error) {
	for {
		resp, err := ask[*kmsg.ConsumerGroupHeartbeatResponse](m.peer, req)
		switch {
		case err != nil:
			return moved, err
		case m.again(resp.ErrorCode):
			req = m.everything()
			continue
		case resp.ErrorCode == kerr.FencedMemberEpoch.Code, resp.ErrorCode == kerr.UnknownMemberID.Code:
			return true, m.join()
		case resp.ErrorCode != 0:
			return moved, kerr.ErrorForCode(resp.ErrorCode)
		}
		moved = moved || resp.MemberEpoch != m.epoch
		m.epoch = resp.MemberEpoch
		if resp.Assignment == nil {
			return moved, nil
		}
		given := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			topic.TopicID, topic.Partitions = t.TopicID, t.Partitions
			given = append(given, topic)
		}
		if reflect.DeepEqual(given, m.owned) {
			return moved, nil
		}
		m.owned = given
		req = m.request()
		req.Topics = m.owned
	}
}
