package sequence

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// A table of what each request does in each state. Its first line has the states, its
// first column the requests:
//
//	init [ID/epoch]                  InitProducer, with the expected producer
//	add, verify [ID/epoch]           AddToTransaction of partition 1 and group g
//	offsets1, offsets2 ID/epoch      TransactionOffsets of group g, V1 and V2
//	  ... other, stale               of group h; of g in a version that is past
//	  ... none, gone                 of a group that doesn't exist, and didn't or did when it was read
//	commit1 ... abort2 ID/epoch      EndTransaction
//	expire, early ID/epoch           ExpireTransaction, the timeout past or not
//
// A state is its first letter, the version, the producer, and what that was before:
//
//	C2 7:5<7:4     CompleteCommit by V2, producer 7 of epoch 5, once 4; 7 and no "<" may be left out
//
// The other cells say the new state, and the epoch of the markers of a commit (c) or an
// abort (a); or
//
//	=    accepted, and nothing changes
//	?    the partition is missing
//	M    ErrProducerIDMapping
//	F    ErrProducerFenced
//	S    ErrInvalidTransactionState
//	V    ErrGroupVersion
//
// New producer IDs are 11. An open transaction has partition 1, with data, and group g.
//
// A broker of Apache Kafka 4.2 says the same, but where Wadi is stricter or needs less: for
// an init that finds a transaction open it raises the epoch twice, once for each try of
// the client; and after an end with V1 it takes V2 of the epoch before for a repetition.
const (
	ordinary = `
                   | unknown | E1 5    | E1 5<4  | O1 5       | O2 5<4     | C1 5    | C2 5<4  | A1 5    | A2 5<4
init               | E1 11:0 | E1 6    | E1 6    | E1 6 a6    | E2 6 a6    | E1 6    | E2 6    | E1 6    | E2 6
init 7/5           | E1 11:0 | E1 6<5  | E1 6<5  | E1 6<5 a6  | E2 6<5 a6  | E1 6<5  | E2 6<5  | E1 6<5  | E2 6<5
init 7/4           | E1 11:0 | F       | E1 5<4  | F          | F          | F       | E2 5<4  | F       | E2 5<4
init 7/3           | E1 11:0 | F       | F       | F          | F          | F       | F       | F       | F
init 7/6           | E1 11:0 | F       | F       | F          | F          | F       | F       | F       | F
init 8/5           | E1 11:0 | F       | F       | F          | F          | F       | F       | F       | F
init 8/4           | E1 11:0 | F       | F       | F          | F          | F       | F       | F       | F
add 7/5            | M       | O1 5    | O1 5<4  | =          | =          | O1 5    | O1 5<4  | O1 5    | O1 5<4
add 7/4            | M       | F       | F       | F          | F          | F       | F       | F       | F
add 7/6            | M       | F       | F       | F          | F          | F       | F       | F       | F
add 8/5            | M       | M       | M       | M          | M          | M       | M       | M       | M
verify 7/5         | M       | ?       | ?       | =          | =          | ?       | ?       | ?       | ?
verify 7/4         | M       | F       | F       | F          | F          | F       | F       | F       | F
verify 7/6         | M       | F       | F       | F          | F          | F       | F       | F       | F
verify 8/5         | M       | M       | M       | M          | M          | M       | M       | M       | M
offsets1 7/5       | M       | S       | S       | =          | =          | S       | S       | S       | S
offsets1 7/5 other | M       | S       | S       | S          | S          | S       | S       | S       | S
offsets1 7/5 stale | M       | S       | S       | V          | V          | S       | S       | S       | S
offsets1 7/4       | M       | F       | F       | F          | F          | F       | F       | F       | F
offsets1 7/6       | M       | F       | F       | F          | F          | F       | F       | F       | F
offsets1 8/5       | M       | M       | M       | M          | M          | M       | M       | M       | M
offsets2 7/5       | M       | O2 5    | O2 5<4  | =          | =          | O2 5    | O2 5<4  | O2 5    | O2 5<4
offsets2 7/5 other | M       | O2 5    | O2 5<4  | =          | =          | O2 5    | O2 5<4  | O2 5    | O2 5<4
offsets2 7/5 stale | M       | V       | V       | V          | V          | V       | V       | V       | V
offsets2 7/5 none  | M       | V       | V       | V          | V          | V       | V       | V       | V
offsets2 7/5 gone  | M       | V       | V       | V          | V          | V       | V       | V       | V
offsets2 7/4       | M       | F       | F       | F          | F          | F       | F       | F       | F
offsets2 7/6       | M       | F       | F       | F          | F          | F       | F       | F       | F
offsets2 8/5       | M       | M       | M       | M          | M          | M       | M       | M       | M
commit1 7/5        | M       | S       | S       | C1 5 c5    | C1 5<4 c5  | =       | =       | S       | S
commit1 7/4        | M       | F       | F       | F          | F          | F       | F       | F       | F
commit1 7/6        | M       | F       | F       | F          | F          | F       | F       | F       | F
commit1 8/5        | M       | M       | M       | M          | M          | M       | M       | M       | M
abort1 7/5         | M       | S       | S       | A1 5 a5    | A1 5<4 a5  | S       | S       | =       | =
abort1 7/4         | M       | F       | F       | F          | F          | F       | F       | F       | F
abort1 7/6         | M       | F       | F       | F          | F          | F       | F       | F       | F
abort1 8/5         | M       | M       | M       | M          | M          | M       | M       | M       | M
commit2 7/5        | M       | S       | S       | C2 6<5 c6  | C2 6<5 c6  | S       | S       | S       | S
commit2 7/4        | M       | F       | F       | F          | F          | F       | =       | F       | S
commit2 7/3        | M       | F       | F       | F          | F          | F       | F       | F       | F
commit2 7/6        | M       | F       | F       | F          | F          | F       | F       | F       | F
commit2 8/5        | M       | M       | M       | M          | M          | M       | M       | M       | M
commit2 8/4        | M       | M       | M       | M          | M          | M       | M       | M       | M
abort2 7/5         | M       | A2 6<5  | A2 6<5  | A2 6<5 a6  | A2 6<5 a6  | A2 6<5  | A2 6<5  | A2 6<5  | A2 6<5
abort2 7/4         | M       | F       | F       | F          | F          | F       | S       | F       | =
abort2 7/3         | M       | F       | F       | F          | F          | F       | F       | F       | F
abort2 7/6         | M       | F       | F       | F          | F          | F       | F       | F       | F
abort2 8/5         | M       | M       | M       | M          | M          | M       | M       | M       | M
expire 7/5         | M       | S       | S       | A2 6<5 a6  | A2 6<5 a6  | S       | S       | S       | S
expire 7/4         | M       | F       | F       | F          | F          | F       | F       | F       | F
expire 7/6         | M       | F       | F       | F          | F          | F       | F       | F       | F
expire 8/5         | M       | M       | M       | M          | M          | M       | M       | M       | M
early 7/5          | M       | S       | S       | S          | S          | S       | S       | S       | S
early 7/4          | M       | F       | F       | F          | F          | F       | F       | F       | F
`
	// Epoch 32766 is the last that a producer gets, 32767 only fences; whoever
	// claims it nevertheless gets nowhere beyond.
	exhausted = `
                   | E1 32766        | E1 32766<32765  | O1 32765              | O1 32766               | O2 32766<32765         | C2 32766<32765  | A2 32767        | O1 32767
init               | E1 11:0<7:-1    | E1 11:0<7:-1    | E1 32766 a32766       | E1 11:0<7:-1 a32767    | E2 11:0<7:-1 a32767    | E2 11:0<7:-1    | E2 11:0<7:-1    | E1 11:0<7:-1 a32767
init 7/32766       | E1 11:0<7:32766 | E1 11:0<7:32766 | F                     | E1 11:0<7:32766 a32767 | E2 11:0<7:32766 a32767 | E2 11:0<7:32766 | F               | F
init 7/32765       | F               | E1 32766<32765  | E1 32766<32765 a32766 | F                      | F                      | E2 32766<32765  | F               | F
init 7/32767       | F               | F               | F                     | F                      | F                      | F               | E2 11:0<7:32767 | E1 11:0<7:32767 a32767
commit1 7/32766    | S               | S               | F                     | C1 32766 c32766        | C1 32766<32765 c32766  | =               | F               | F
abort1 7/32766     | S               | S               | F                     | A1 32766 a32766        | A1 32766<32765 a32766  | S               | F               | F
commit2 7/32765    | F               | F               | C2 32766<32765 c32766 | F                      | F                      | =               | F               | F
commit2 7/32766    | S               | S               | F                     | C2 11:0<7:32766 c32767 | C2 11:0<7:32766 c32767 | S               | F               | F
abort2 7/32766     | A2 11:0<7:32766 | A2 11:0<7:32766 | F                     | A2 11:0<7:32766 a32767 | A2 11:0<7:32766 a32767 | A2 11:0<7:32766 | F               | F
abort2 7/32767     | F               | F               | F                     | F                      | F                      | F               | A2 11:0<7:32767 | A2 11:0<7:32767 a32767
expire 7/32766     | S               | S               | F                     | A2 32767 a32767        | A2 32767 a32767        | S               | F               | F
expire 7/32767     | F               | F               | F                     | F                      | F                      | F               | S               | A2 32767 a32767
`
	// Producer 9 was 7 before its epochs ran out.
	rotated = `
                   | E1 9:0<7:32766 | E1 9:0<7:-1 | O2 9:0<7:32766      | C2 9:0<7:32766 | A2 9:0<7:32766 | C1 9:0<7:32766 | C2 9:1<7:0
init               | E1 9:1<7:-1    | E1 9:1<7:-1 | E2 9:1<7:-1 a1      | E2 9:1<7:-1    | E2 9:1<7:-1    | E1 9:1<7:-1    | E2 9:2<7:-1
init 9/0           | E1 9:1<7:0     | E1 9:1<7:0  | E2 9:1<7:0 a1       | E2 9:1<7:0     | E2 9:1<7:0     | E1 9:1<7:0     | E2 9:1<7:0
init 7/32766       | E1 9:0<7:32766 | F           | F                   | E2 9:0<7:32766 | E2 9:0<7:32766 | E1 9:0<7:32766 | F
init 7/32765       | F              | F           | F                   | F              | F              | F              | F
init 7/0           | F              | F           | F                   | F              | F              | F              | F
init 9/32766       | F              | F           | F                   | F              | F              | F              | F
add 7/32766        | M              | M           | M                   | M              | M              | M              | M
offsets2 7/32766   | M              | M           | M                   | M              | M              | M              | M
commit1 7/32766    | M              | M           | M                   | M              | M              | M              | M
commit2 7/32766    | M              | M           | M                   | =              | S              | M              | M
abort2 7/32766     | M              | M           | M                   | S              | =              | M              | M
commit2 7/32765    | M              | M           | M                   | M              | M              | M              | M
commit2 9/0        | S              | S           | C2 9:1<7:0 c1       | S              | S              | S              | =
abort2 9/0         | A2 9:1<7:0     | A2 9:1<7:0  | A2 9:1<7:0 a1       | A2 9:1<7:0     | A2 9:1<7:0     | A2 9:1<7:0     | S
expire 7/32766     | M              | M           | M                   | M              | M              | M              | M
`
)

func TestTransactionalIDStateByRequest(t *testing.T) {
	for name, table := range map[string]string{"ordinary": ordinary, "epochs exhausted": exhausted, "another producer ID": rotated} {
		lines := strings.Split(strings.TrimRight(table, "\n"), "\n")[1:]
		states := tableRow(lines[0])
		for _, line := range lines[1:] {
			row := tableRow(line)
			if len(row) != len(states) {
				t.Fatalf("%q has %d cells, want %d", line, len(row), len(states))
			}
			for i := 1; i < len(row); i++ {
				t.Run(fmt.Sprintf("%s/%s in %s", name, row[0], states[i]), func(t *testing.T) {
					testCell(t, states[i], row[0], row[i])
				})
			}
		}
	}
}

func tableRow(line string) []string {
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

const newProducerID = 11

func testCell(t *testing.T, before, request, want string) {
	now := time.UnixMilli(1_800_000_000_000)
	state := TransactionsState{
		Now:        now,
		Groups:     map[string]int64{"g": 3, "h": 3},
		Partitions: map[metadata.PartitionID]Partition{1: {NextOffset: 10, MaxTimestamp: 5, FirstUnstable: -1}},
	}
	var old metadata.Transaction
	if before != "unknown" {
		var markers string
		old, markers = parseTransaction(t, before)
		if markers != "" {
			t.Fatalf("markers in a state: %q", before)
		}
		old.UpdatedAt = now.Add(-time.Minute)
		if old.State == metadata.TransactionOngoing {
			old.StartedAt = now.Add(-time.Minute)
			old.Partitions, old.Groups = []metadata.PartitionID{1}, []string{"g"}
			state.Partitions[1] = Partition{NextOffset: 10, MaxTimestamp: 5, FirstUnstable: 8}
			state.Open = map[metadata.PartitionID][]OpenTransaction{1: {{ProducerID: old.ProducerID, FirstOffset: 8}}}
		}
		state.Transactions = map[string]metadata.Transaction{"id": old}
	}
	requests := []metadata.TransactionRequest{{ID: "id", Op: parseOp(t, request, &old)}}
	if before != "unknown" {
		state.Transactions["id"] = old
	}
	if err := ValidateTransactions(requests); err != nil {
		t.Fatal(err)
	}
	unchanged := fmt.Sprint(state)
	d := DecideTransactions(state, requests)
	if fmt.Sprint(state) != unchanged {
		t.Fatal("DecideTransactions changed its input")
	}
	result := d.Results[0]
	if kind, ok := map[string]error{
		"M": metadata.ErrProducerIDMapping, "F": metadata.ErrProducerFenced,
		"S": metadata.ErrInvalidTransactionState, "V": metadata.ErrGroupVersion,
	}[want]; ok {
		if !errors.Is(result.Err, kind) {
			t.Fatalf("got %+v, want %v", result, kind)
		}
		if d.Results = nil; !reflect.DeepEqual(d, TransactionsDecision{}) {
			t.Fatalf("a refused request changes %+v", d)
		}
		return
	}
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if got := slices.Equal(result.Absent, []metadata.PartitionID{1}); got != (want == "?") {
		t.Fatalf("absent: %v", result.Absent)
	}
	next, got := old, "="
	if want == "?" {
		got = "?"
	}
	if len(d.Transactions) > 0 {
		c := d.Transactions[0]
		next = c.Transaction
		if c.New != (before == "unknown") || next.ID != "id" || !next.UpdatedAt.Equal(now) {
			t.Errorf("changes to %+v", c)
		}
		switch wantStart := next.State == metadata.TransactionOngoing; {
		case wantStart && !next.StartedAt.Equal(now), !wantStart && !next.StartedAt.IsZero():
			t.Errorf("the transaction in state %v started at %v", next.State, next.StartedAt)
		}
		wantTimeout := old.Timeout
		if op, ok := requests[0].Op.(metadata.InitProducer); ok {
			wantTimeout = op.Timeout
		}
		if next.Timeout != wantTimeout {
			t.Errorf("timeout %v, want %v", next.Timeout, wantTimeout)
		}
		got = formatTransaction(next) + formatMarkers(t, d, old)
	}
	if want != "=" && want != "?" {
		wanted, markers := parseTransaction(t, want)
		want = formatTransaction(wanted) + markers
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	switch requests[0].Op.(type) {
	case metadata.InitProducer, metadata.EndTransaction:
		if result.Producer != (metadata.ProducerEpoch{ID: next.ProducerID, Epoch: next.Epoch}) {
			t.Errorf("answered producer %+v, stored %s", result.Producer, formatTransaction(next))
		}
	}
}

// formatMarkers tells the epoch of the markers that a transaction's end wrote.
func formatMarkers(t *testing.T, d TransactionsDecision, old metadata.Transaction) string {
	if len(d.Ended) == 0 && len(d.Commit.Runs) == 0 {
		return ""
	}
	if len(d.Ended) != 1 || len(d.Commit.Runs) != 1 || d.Ended[0].ProducerID != old.ProducerID {
		t.Fatalf("ended %+v with markers %+v", d.Ended, d.Commit.Runs)
	}
	m, ok := d.Commit.Runs[0].Marker()
	if !ok || m.ProducerID != old.ProducerID || m.Commit != d.Ended[0].Commit {
		t.Fatalf("marker %+v", m)
	}
	if m.Commit {
		return fmt.Sprintf(" c%d", m.Epoch)
	}
	return fmt.Sprintf(" a%d", m.Epoch)
}

// parseOp makes a request, and lets the transaction be overdue if it is to expire.
func parseOp(t *testing.T, request string, tx *metadata.Transaction) metadata.TransactionOp {
	words := strings.Fields(request)
	producer := metadata.NoProducer
	if len(words) > 1 {
		if _, err := fmt.Sscanf(words[1], "%d/%d", &producer.ID, &producer.Epoch); err != nil {
			t.Fatalf("request %q: %v", request, err)
		}
	}
	last := words[len(words)-1]
	switch words[0] {
	case "init":
		return metadata.InitProducer{Timeout: time.Hour, Expected: producer, NewProducerID: newProducerID}
	case "add":
		group := "g"
		return metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{1}, Group: &group}
	case "verify":
		return metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{1}, VerifyOnly: true}
	case "offsets1", "offsets2":
		op := metadata.TransactionOffsets{Producer: producer, GroupID: "g", GroupVersion: 3, Version: metadata.TransactionVersion(words[0][7] - '0')}
		switch last {
		case "other":
			op.GroupID = "h"
		case "gone":
			op.GroupID = "i"
		case "stale":
			op.GroupVersion = 2
		case "none":
			op.GroupID, op.GroupVersion = "missing", 0
		}
		return op
	case "commit1", "commit2", "abort1", "abort2":
		version := metadata.TransactionVersion(words[0][len(words[0])-1] - '0')
		return metadata.EndTransaction{Producer: producer, Commit: strings.HasPrefix(words[0], "commit"), Version: version, NewProducerID: newProducerID}
	case "expire":
		tx.Timeout = time.Minute - time.Millisecond
		return metadata.ExpireTransaction{Producer: producer}
	case "early":
		tx.Timeout = time.Minute
		return metadata.ExpireTransaction{Producer: producer}
	}
	t.Fatalf("unknown request %q", request)
	return nil
}

var transactionFormat = regexp.MustCompile(`^([EOCA])([12]) (?:(\d+):)?(\d+)(?:<(?:(\d+):)?(-?\d+))?( [ac]\d+)?$`)

var stateLetters = map[string]metadata.TransactionState{
	"E": metadata.TransactionEmpty, "O": metadata.TransactionOngoing, "C": metadata.TransactionCommitted, "A": metadata.TransactionAborted,
}

func parseTransaction(t *testing.T, s string) (tx metadata.Transaction, markers string) {
	m := transactionFormat.FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("%q is no state", s)
	}
	number := func(s string, otherwise int64) int64 {
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return metadata.Transaction{
		ID: "id", State: stateLetters[m[1]], Version: metadata.TransactionVersion(number(m[2], 0)),
		ProducerID: number(m[3], 7), Epoch: int16(number(m[4], 0)),
		LastProducerID: number(m[5], -1), LastEpoch: int16(number(m[6], -1)),
		Timeout: 2 * time.Minute,
	}, m[7]
}

func formatTransaction(tx metadata.Transaction) string {
	for letter, state := range stateLetters {
		if state == tx.State {
			return fmt.Sprintf("%s%d %d:%d<%d:%d", letter, tx.Version, tx.ProducerID, tx.Epoch, tx.LastProducerID, tx.LastEpoch)
		}
	}
	return fmt.Sprintf("state %d", tx.State)
}
