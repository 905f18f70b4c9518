package transaction

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func describe(a *agent, ids ...string) []kmsg.DescribeTransactionsResponseTransactionState {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids
	return a.DescribeTransactions(a.Context(), software, req).TransactionStates
}

func TestTransactionsAreDescribed(t *testing.T) {
	a := newAgent(t)
	began := time.Now().Add(-time.Minute)
	open := a.open("open", "u 0", "t 2", "t 0")
	for _, group := range []string{"g", "polygenelubricants", ""} { // the last two share partition 0
		a.must(a.AddOffsetsToTxn(t.Context(), software, addOffsetsRequest(3, "open", open, group)).ErrorCode)
	}
	idle := a.init("idle")
	states := describe(a, "open", "", "none", "open", "idle", "") // twice is once
	wants := []string{"open:  Ongoing", ": INVALID_REQUEST ", "none: TRANSACTIONAL_ID_NOT_FOUND ", "idle:  Empty"}
	if len(states) != len(wants) {
		t.Fatalf("%d states, want %d", len(states), len(wants))
	}
	for i, want := range wants {
		s := states[i]
		if got := fmt.Sprintf("%s: %s %s", s.TransactionalID, names([]int16{s.ErrorCode})[0], s.State); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s := states[0]
	if s.ProducerID != open.ID || s.ProducerEpoch != open.Epoch || s.TimeoutMillis != 60_000 || s.StartTimestamp < began.UnixMilli() || s.StartTimestamp > time.Now().Add(time.Minute).UnixMilli() {
		t.Errorf("the open one is %+v", s)
	}
	if s := states[3]; s.ProducerID != idle.ID || s.StartTimestamp != -1 || len(s.Topics) != 0 {
		t.Errorf("the idle one is %+v", s)
	}
	var topics []string
	for _, topic := range s.Topics {
		topics = append(topics, fmt.Sprint(topic.Topic, topic.Partitions))
	}
	if want := "__consumer_offsets[0 3] t[0 2] u[0]"; strings.Join(topics, " ") != want {
		t.Errorf("its partitions are %s, want %s", topics, want)
	}
	if err := a.store.DeleteTopic(t.Context(), a.topic.ID); err != nil {
		t.Fatal(err)
	}
	if s := describe(a, "open")[0]; s.ErrorCode != 0 || len(s.Topics) != 2 {
		t.Errorf("with a topic deleted it is %+v", s)
	}
}

// TestGroupsPartitionIsKafkas: by String.hashCode, with Kafka's own absolute value.
func TestGroupsPartitionIsKafkas(t *testing.T) {
	for group, want := range map[string]int32{
		"":                   0,
		"g":                  103 % 50,
		"polygenelubricants": 0,               // the hash is the smallest integer
		"my-group":           1906497762 % 50, // the hash is as much below 0
		"😀":                  1772899 % 50,
	} {
		if got := partitionFor(group, 50); got != want {
			t.Errorf("group %q is in partition %d, want %d", group, got, want)
		}
	}
}

func TestTransactionsAreListedByFilters(t *testing.T) {
	a := newAgent(t)
	open := a.open("open-1", "t 0")
	ids := map[string]metadata.ProducerEpoch{"open-1": open, "committed": a.open("committed", "t 0"), "aborted": a.open("aborted", "t 0"), "empty": a.init("empty")}
	for id, commit := range map[string]bool{"committed": true, "aborted": false} {
		a.must(a.EndTxn(t.Context(), software, endRequest(4, id, ids[id], commit)).ErrorCode)
	}
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		req     kmsg.ListTransactionsRequest
		want    []string
		unknown []string
		code    int16
	}{
		"all":                    {kmsg.ListTransactionsRequest{DurationFilterMillis: -1}, []string{"aborted CompleteAbort", "committed CompleteCommit", "empty Empty", "open-1 Ongoing"}, nil, 0},
		"a state":                {kmsg.ListTransactionsRequest{StateFilters: []string{"Ongoing"}, DurationFilterMillis: -1}, []string{"open-1 Ongoing"}, nil, 0},
		"two states":             {kmsg.ListTransactionsRequest{StateFilters: []string{"CompleteAbort", "Empty"}, DurationFilterMillis: -1}, []string{"aborted CompleteAbort", "empty Empty"}, nil, 0},
		"a state nobody is in":   {kmsg.ListTransactionsRequest{StateFilters: []string{"PrepareCommit"}, DurationFilterMillis: -1}, nil, nil, 0},
		"unknown states":         {kmsg.ListTransactionsRequest{StateFilters: []string{"ongoing", "", "Empty", "ongoing"}, DurationFilterMillis: -1}, []string{"empty Empty"}, []string{"ongoing", ""}, 0},
		"only unknown states":    {kmsg.ListTransactionsRequest{StateFilters: []string{"x"}, DurationFilterMillis: -1}, nil, []string{"x"}, 0},
		"a producer":             {kmsg.ListTransactionsRequest{ProducerIDFilters: []int64{open.ID, 99}, DurationFilterMillis: -1}, []string{"open-1 Ongoing"}, nil, 0},
		"a producer and a state": {kmsg.ListTransactionsRequest{ProducerIDFilters: []int64{open.ID}, StateFilters: []string{"Empty"}, DurationFilterMillis: -1}, nil, nil, 0},
		"open for longer":        {kmsg.ListTransactionsRequest{DurationFilterMillis: 3_600_000}, nil, nil, 0},
		"a pattern":              {kmsg.ListTransactionsRequest{TransactionalIDPattern: text("open-\\d|em.*"), DurationFilterMillis: -1}, []string{"empty Empty", "open-1 Ongoing"}, nil, 0},
		"a part of the ID":       {kmsg.ListTransactionsRequest{TransactionalIDPattern: text("open"), DurationFilterMillis: -1}, nil, nil, 0},
		"an empty pattern":       {kmsg.ListTransactionsRequest{TransactionalIDPattern: text(""), ProducerIDFilters: []int64{open.ID}, DurationFilterMillis: -1}, []string{"open-1 Ongoing"}, nil, 0},
		"a bad pattern":          {kmsg.ListTransactionsRequest{TransactionalIDPattern: text(")("), DurationFilterMillis: -1}, nil, nil, kerr.InvalidRegularExpression.Code},
		"look-ahead, not RE2":    {kmsg.ListTransactionsRequest{TransactionalIDPattern: text("(?=a)a"), DurationFilterMillis: -1}, nil, nil, kerr.InvalidRegularExpression.Code},
	} {
		t.Run(name, func(t *testing.T) {
			test.req.SetVersion(2)
			resp := a.ListTransactions(t.Context(), software, &test.req)
			var got []string
			for _, s := range resp.TransactionStates {
				got = append(got, s.TransactionalID+" "+s.TransactionState)
				if s.ProducerID != ids[s.TransactionalID].ID {
					t.Errorf("%s has producer ID %d", s.TransactionalID, s.ProducerID)
				}
			}
			if !slices.Equal(got, test.want) || !slices.Equal(resp.UnknownStateFilters, test.unknown) || resp.ErrorCode != test.code {
				t.Errorf("%q, unknown %q, %v; want %q, %q, %v", got, resp.UnknownStateFilters, kerr.ErrorForCode(resp.ErrorCode), test.want, test.unknown, kerr.ErrorForCode(test.code))
			}
		})
	}
}

// TestDurationFilterIsOfOpenTransactions: it is of those open for longer than that.
func TestDurationFilterIsOfOpenTransactions(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		age    time.Duration // -1: none is open
		filter int64
		listed bool
	}{
		"none open, no filter": {-1, -1, true},
		"none open":            {-1, 0, false},
		"shorter":              {time.Second, 1001, false},
		"just as long":         {time.Second, 1000, false},
		"longer":               {1001 * time.Millisecond, 1000, true},
		"no filter":            {0, -1, true},
	} {
		transaction := metadata.Transaction{ID: "id", State: metadata.TransactionOngoing}
		if test.age >= 0 {
			transaction.StartedAt = now.Add(-test.age)
		}
		if got := listed(&kmsg.ListTransactionsRequest{DurationFilterMillis: test.filter}, nil, &transaction, now); got != test.listed {
			t.Errorf("%s: listed %v", name, got)
		}
	}
}
