package transaction

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// names are the codes as Kafka names them, "" for none.
func names(codes []int16) (names []string) {
	for _, code := range codes {
		name := ""
		if err := kerr.TypedErrorForCode(code); err != nil {
			name = err.Message
		}
		names = append(names, name)
	}
	return names
}

func TestOnePartitionThatCannotBeAddedKeepsTheOthersOut(t *testing.T) {
	const (
		unknown = "UNKNOWN_TOPIC_OR_PARTITION"
		kept    = "OPERATION_NOT_ATTEMPTED"
		denied  = "TOPIC_AUTHORIZATION_FAILED"
	)
	a := newAgent(t)
	for name, test := range map[string]struct {
		partitions []string
		want       []string
		added      int
	}{
		"all there":         {[]string{"t 0", "t 2", "u 0"}, []string{"", "", ""}, 3},
		"named twice":       {[]string{"t 0", "u 0", "t 0"}, []string{"", "", ""}, 2},
		"no such partition": {[]string{"t 0", "t 3", "u 0"}, []string{kept, unknown, kept}, 0},
		"negative":          {[]string{"t -1", "t 1"}, []string{unknown, kept}, 0},
		"no such topic":     {[]string{"x 0", "t 1"}, []string{unknown, kept}, 0},
		"no topic's name":   {[]string{"a/b 0", "t 1", "\x00 0"}, []string{unknown, kept, unknown}, 0},
		"internal":          {[]string{"__consumer_offsets 0", "t 1", "x 0"}, []string{denied, kept, unknown}, 0},
		"none":              {nil, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			resp := a.AddPartitionsToTxn(t.Context(), software, addRequest(3, name, a.init(name), false, test.partitions...))
			if got := names(codesOf(resp)); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if got := a.stored(name); len(got.Partitions) != test.added {
				t.Errorf("%+v is stored, want %d partitions", got, test.added)
			}
		})
	}
}

// TestManyTransactionsInOneRequest: each is answered by itself, in the request's order.
func TestManyTransactionsInOneRequest(t *testing.T) {
	a := newAgent(t)
	one, two, three := a.open("one", "t 0"), a.init("two"), a.open("three", "t 1", "u 0")
	req := addRequest(4, "one", one, false, "t 1", "u 0")
	addTo(req, "two", two, false, "t 0", "x 0")
	addTo(req, "three", three, true, "t 1", "t 2", "u 0")
	addTo(req, "four", two, false, "t 0")
	addTo(req, "five", a.init("five"), false, "__consumer_offsets 3") // another broker may
	stale := a.init("six")
	a.init("six")
	addTo(req, "six", stale, true, "t 0")
	addTo(req, "one", one, false, "t 2")
	resp := a.AddPartitionsToTxn(t.Context(), software, req)
	want := []string{
		"", "",
		"OPERATION_NOT_ATTEMPTED", "UNKNOWN_TOPIC_OR_PARTITION",
		"", "TRANSACTION_ABORTABLE", "",
		"INVALID_PRODUCER_ID_MAPPING",
		"",
		"PRODUCER_FENCED",
		"INVALID_REQUEST", // named before
	}
	if got := names(codesOf(resp)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i, id := range []string{"one", "two", "three", "four", "five", "six", "one"} {
		if resp.Transactions[i].TransactionalID != id {
			t.Errorf("answer %d is of %q, want %q", i, resp.Transactions[i].TransactionalID, id)
		}
	}
	if n := len(a.stored("one").Partitions); n != 3 {
		t.Errorf("one has %d partitions", n)
	}
}
