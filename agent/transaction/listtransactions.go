package transaction

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// ListTransactions is API key 66, served in versions 0 to 2.
//
//	v0  filters by state and producer ID (KIP-664)
//	v1  filter by how long the transaction is open (KIP-994)
//	v2  filter by transactional ID, an RE2 pattern that matches the whole (KIP-1152)
//
// Any agent lists all, as it coordinates all. Tools ask every broker and take a transactional ID
// that comes twice for one.
func (c *Coordinator) ListTransactions(ctx context.Context, client protocol.Client, req *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse {
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	pattern, err := compile(req.TransactionalIDPattern)
	if err != nil {
		resp.ErrorCode = kerr.InvalidRegularExpression.Code
		return resp
	}
	resp.UnknownStateFilters = unknownStates(req.StateFilters)
	transactions, now, err := c.store.ListTransactions(ctx)
	if err != nil {
		resp.ErrorCode = c.code(client, req, "", err)
		return resp
	}
	slices.SortFunc(transactions, func(a, b metadata.Transaction) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range transactions {
		if !listed(req, pattern, &t, now) {
			continue
		}
		out := kmsg.NewListTransactionsResponseTransactionState()
		out.TransactionalID, out.ProducerID, out.TransactionState = t.ID, t.ProducerID, t.State.String()
		resp.TransactionStates = append(resp.TransactionStates, out)
	}
	return resp
}

// listed tells whether the filters let a transaction pass; one that is empty lets all pass.
//
// Transactions that aren't open last for no time. (Kafka takes them for open since they
// last were, or since 1970.)
func listed(req *kmsg.ListTransactionsRequest, pattern *regexp.Regexp, t *metadata.Transaction, now time.Time) bool {
	longerThan := req.DurationFilterMillis // -1 before version 1
	switch {
	case len(req.ProducerIDFilters) > 0 && !slices.Contains(req.ProducerIDFilters, t.ProducerID),
		len(req.StateFilters) > 0 && !slices.Contains(req.StateFilters, t.State.String()),
		longerThan >= 0 && (t.StartedAt.IsZero() || now.Sub(t.StartedAt).Milliseconds() <= longerThan):
		return false
	}
	return pattern == nil || pattern.MatchString(t.ID)
}

// states are Kafka's names of states. Those that no transaction is in here are known all the same.
var states = []string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
}

// unknownStates returns those filters that name no state, each once.
func unknownStates(filters []string) (unknown []string) {
	seen := map[string]struct{}{}
	for _, name := range filters {
		if _, again := seen[name]; again || slices.Contains(states, name) {
			continue
		}
		seen[name] = struct{}{}
		unknown = append(unknown, name)
	}
	return unknown
}

// compile returns the pattern of a whole transactional ID, nil for any.
func compile(pattern *string) (*regexp.Regexp, error) {
	if pattern == nil || *pattern == "" {
		return nil, nil
	}
	// On its own first: a bracket too many must not close ours.
	if _, err := regexp.Compile(*pattern); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + *pattern + `)\z`)
}
