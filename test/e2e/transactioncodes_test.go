package e2e

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestTransactionRequestsInEachState sends each request in each state of a
// transaction, and holds the codes against testdata/transactioncodes.txt, which says how to read it.
//
// With COMPAT_BOOTSTRAP=host:port it asks that broker. What a Kafka 4.2 answers differently
// is written beside it: the file says so, and why.
func TestTransactionRequestsInEachState(t *testing.T) {
	const golden = "testdata/transactioncodes.txt"
	bootstrap, kafka := os.Getenv("COMPAT_BOOTSTRAP"), true
	if bootstrap == "" {
		kafka = false
		bootstrap = harness.Agent(t, harness.AgentOptions{}).Bootstrap()
	}
	topic := fmt.Sprint("codes-", time.Now().UnixNano())
	createTopic(t, bootstrap, topic, 2)
	s := &codes{T: t, topic: topic, conn: dialKafka(t, bootstrap), run: strconv.FormatInt(time.Now().UnixNano(), 36)}
	s.findCoordinator()

	before, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var after bytes.Buffer
	var states []string
	rows := 0
	for _, line := range strings.Split(strings.TrimRight(string(before), "\n"), "\n") {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&after, line)
			continue
		case states == nil:
			states = cells[1:]
			fmt.Fprintf(&after, "%-26s", cells[0])
			for _, state := range states {
				fmt.Fprintf(&after, "| %-15s", state)
			}
			fmt.Fprintln(&after)
			continue
		}
		rows++
		fmt.Fprintf(&after, "%-26s", cells[0])
		for i, state := range states {
			got := s.cell(fmt.Sprintf("%s %d-%d", s.run, rows, i), state, strings.Fields(cells[0]))
			var cell string
			if i+1 < len(cells) {
				cell = cells[i+1]
			}
			want, theirs, _ := strings.Cut(cell, "/")
			if got != want && (!kafka || got != theirs) {
				if !*update {
					t.Errorf("%s in state %s: %s, want %s", cells[0], state, got, cell)
				}
				switch {
				case cell == "":
					cell = got
				case kafka:
					cell = want + "/" + got
				default:
					cell = got + "/" + cmp.Or(theirs, want)
				}
			}
			fmt.Fprintf(&after, "| %-15s", cell)
		}
		fmt.Fprintln(&after)
	}
	if rows < 40 || len(states) < 8 {
		t.Errorf("only %d requests in %d states are in %s", rows, len(states), golden)
	}
	if *update {
		if err := os.WriteFile(golden, trimLines(after.Bytes()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func trimLines(b []byte) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(b)) {
		fmt.Fprintln(&out, strings.TrimRight(line, " \n"))
	}
	return out.Bytes()
}

// TestMarkersAreNotTakenFromClients: brokers send them to each other in Kafka. Nobody
// does here, and whoever could would end other people's transactions.
func TestMarkersAreNotTakenFromClients(t *testing.T) {
	agent := harness.Agent(t, harness.AgentOptions{})
	versions := exchange(t, dialKafka(t, agent.Bootstrap()), kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse)
	if slices.ContainsFunc(versions.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == int16(kmsg.WriteTxnMarkers) }) {
		t.Error("WriteTxnMarkers is advertised")
	}
	for version := range kmsg.NewPtrWriteTxnMarkersRequest().MaxVersion() + 1 {
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		req.SetVersion(version)
		req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 1, Committed: true, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0}}}}}
		conn := dialKafka(t, agent.Bootstrap())
		if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		var timeout net.Error
		if len(answer) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("version %d is answered with %d bytes, %v; want what an unknown API gets", version, len(answer), err)
		}
	}
}

// codes sends the requests of the table.
type codes struct {
	*testing.T
	conn       net.Conn
	topic, run string
}

// producer is a transactional producer as its client knows it.
type producer struct {
	id    string
	pid   int64
	epoch int16
	// sequence is the next one in partition 0.
	sequence int32
}

// cell brings a new transactional ID into the state, sends the request, and says what came back.
func (s *codes) cell(id, state string, request []string) string {
	s.Helper()
	p := &producer{id: id, pid: 1 << 40, epoch: 3}
	if state != "none" {
		for range 2 { // so that there is an older epoch
			s.must(s.init(p, 4, &producer{pid: -1, epoch: -1}))
		}
	}
	switch strings.TrimRight(state, "12") {
	case "none", "empty":
		return s.send(p, request)
	}
	v2 := strings.HasSuffix(state, "2")
	if v2 {
		s.must(s.produce(p, 12, 0))
		p.sequence++
	} else {
		s.must(s.add(p, 3, 0))
	}
	if name := strings.TrimRight(state, "12"); name != "open" {
		version := int16(4)
		if v2 {
			version = 5
		}
		code, pid, epoch := s.end(p, version, name == "committed")
		s.must(code)
		if v2 {
			p.pid, p.epoch, p.sequence = pid, epoch, 0
		}
	}
	return s.send(p, request)
}

func (s *codes) must(code int16) {
	s.Helper()
	if code != 0 {
		s.Fatalf("on the way to the state: %v", kerr.ErrorForCode(code))
	}
}

// send sends one request of the table for the producer: the API, its version, and words.
func (s *codes) send(p *producer, words []string) string {
	s.Helper()
	v, err := strconv.Atoi(words[1])
	if err != nil {
		s.Fatal(err)
	}
	version, asked := int16(v), *p
	partition, commit := int32(0), true
	expected := &producer{pid: -1, epoch: -1}
	for _, word := range words[2:] {
		switch word {
		case "old":
			asked.epoch--
		case "next":
			asked.epoch++
		case "other":
			asked.pid++
		case "unwritten":
			partition = 1
		case "late":
			asked.sequence += 7
		case "commit", "abort":
			commit = word == "commit"
		case "again":
			expected = &asked
		case "half":
			expected = &producer{pid: p.pid, epoch: -1}
		case "unnamed":
			asked.id = ""
		default:
			s.Fatalf("unknown word %q", word)
		}
	}
	if partition == 1 {
		asked.sequence -= p.sequence
	}
	var code, epoch int16
	switch words[0] {
	case "init":
		code = s.init(&asked, version, expected)
		epoch = asked.epoch
	case "add":
		code = s.add(&asked, version, partition)
	case "verify":
		code = s.verify(&asked, version, partition)
	case "offsets":
		code = s.addOffsets(&asked, version)
	case "end":
		code, _, epoch = s.end(&asked, version, commit)
	case "produce":
		code = s.produce(&asked, version, partition)
	default:
		s.Fatalf("unknown request %q", words[0])
	}
	if code != 0 {
		return short(code)
	}
	if words[0] == "init" || words[0] == "end" && version >= 5 {
		return fmt.Sprint("ok ", epoch)
	}
	return "ok"
}

// short are the codes as the table writes them.
func short(code int16) string {
	for name, err := range map[string]*kerr.Error{
		"mapping": kerr.InvalidProducerIDMapping, "fenced": kerr.ProducerFenced, "epoch": kerr.InvalidProducerEpoch,
		"state": kerr.InvalidTxnState, "request": kerr.InvalidRequest, "abortable": kerr.TransactionAbortable,
		"sequence": kerr.OutOfOrderSequenceNumber, "unknown": kerr.UnknownProducerID,
	} {
		if code == err.Code {
			return name
		}
	}
	return fmt.Sprint(kerr.ErrorForCode(code))
}

func (s *codes) init(p *producer, version int16, expected *producer) int16 {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(version)
	req.TransactionalID, req.TransactionTimeoutMillis = &p.id, 60_000
	req.ProducerID, req.ProducerEpoch = expected.pid, expected.epoch
	code := int16(0)
	s.ask(req, func(resp kmsg.Response) int16 {
		r := resp.(*kmsg.InitProducerIDResponse)
		if code = r.ErrorCode; code == 0 {
			p.pid, p.epoch = r.ProducerID, r.ProducerEpoch
		}
		return code
	})
	return code
}

func (s *codes) add(p *producer, version int16, partition int32) (code int16) {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.id, p.pid, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: s.topic, Partitions: []int32{partition}}}
	s.ask(req, func(resp kmsg.Response) int16 {
		code = resp.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
		return code
	})
	return code
}

func (s *codes) verify(p *producer, version int16, partition int32) (code int16) {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.SetVersion(version)
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
		TransactionalID: p.id, ProducerID: p.pid, ProducerEpoch: p.epoch, VerifyOnly: true,
		Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: s.topic, Partitions: []int32{partition}}},
	}}
	s.ask(req, func(resp kmsg.Response) int16 {
		code = resp.(*kmsg.AddPartitionsToTxnResponse).Transactions[0].Topics[0].Partitions[0].ErrorCode
		return code
	})
	return code
}

func (s *codes) addOffsets(p *producer, version int16) (code int16) {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.id, p.pid, p.epoch, "g"
	s.ask(req, func(resp kmsg.Response) int16 {
		code = resp.(*kmsg.AddOffsetsToTxnResponse).ErrorCode
		return code
	})
	return code
}

func (s *codes) end(p *producer, version int16, commit bool) (code int16, pid int64, epoch int16) {
	req := kmsg.NewPtrEndTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.id, p.pid, p.epoch, commit
	s.ask(req, func(resp kmsg.Response) int16 {
		r := resp.(*kmsg.EndTxnResponse)
		code, pid, epoch = r.ErrorCode, r.ProducerID, r.ProducerEpoch
		return code
	})
	return code, pid, epoch
}

// produce writes one record.
func (s *codes) produce(p *producer, version int16, partition int32) (code int16) {
	b := batch()
	b[22] |= 0x10 // transactional
	binary.BigEndian.PutUint64(b[43:], uint64(p.pid))
	binary.BigEndian.PutUint16(b[51:], uint16(p.epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(p.sequence))
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.TransactionID, req.Acks, req.TimeoutMillis = &p.id, -1, 30_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: s.topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: checksum(b)}}}}
	s.ask(req, func(resp kmsg.Response) int16 {
		code = resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		return code
	})
	return code
}

// findCoordinator has Kafka make its topic of transactions, and waits until it leads it.
func (s *codes) findCoordinator() {
	s.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.SetVersion(2)
	req.CoordinatorKey, req.CoordinatorType = s.run, 1
	s.ask(req, func(resp kmsg.Response) int16 { return resp.(*kmsg.FindCoordinatorResponse).ErrorCode })
	s.must(s.init(&producer{id: s.run}, 4, &producer{pid: -1, epoch: -1}))
}

// ask sends a request in exactly its version, again as long as the answer is one that
// passes: Kafka says so while it writes markers.
func (s *codes) ask(req kmsg.Request, code func(kmsg.Response) int16) {
	s.Helper()
	passing := map[int16]bool{
		kerr.ConcurrentTransactions.Code: true, kerr.CoordinatorLoadInProgress.Code: true, kerr.CoordinatorNotAvailable.Code: true,
		kerr.NotCoordinator.Code: true, kerr.NotEnoughReplicas.Code: true, kerr.NotLeaderForPartition.Code: true,
	}
	harness.Eventually(s, time.Minute, func() error {
		if c := code(exchange(s, s.conn, req)); passing[c] {
			return kerr.ErrorForCode(c)
		}
		return nil
	})
}

func dialKafka(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// exchange sends one request as it is, past what a client library would make of it.
func exchange(t testing.TB, conn net.Conn, req kmsg.Request) kmsg.Response {
	t.Helper()
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		t.Fatal(err)
	}
	header := 4 // the correlation ID
	if req.IsFlexible() {
		header++ // no tags
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(frame[header:]); err != nil {
		t.Fatal(err)
	}
	return resp
}
