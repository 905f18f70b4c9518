package transaction

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func TestProducerIDsAreGivenOutOnce(t *testing.T) {
	store := &scripted{}
	var seen sync.Map
	var asking sync.WaitGroup
	for range 4 {
		ids := &producerIDs{store: store}
		for range 4 {
			asking.Go(func() {
				for range idBlock / 3 {
					id, err := ids.take(t.Context())
					if err != nil {
						t.Error(err)
					}
					if _, again := seen.LoadOrStore(id, true); again {
						t.Errorf("%d is given out twice", id)
					}
				}
			})
		}
	}
	asking.Wait()
}

// TestForgottenProducerIDsAreWasted: the next one is of a new block.
func TestForgottenProducerIDsAreWasted(t *testing.T) {
	c, _, _ := newScripted(t, nil)
	for want := range int64(3) {
		id, err := c.ids.take(t.Context())
		if err != nil || id != want*idBlock {
			t.Errorf("producer ID %d, %v; want %d", id, err, want*idBlock)
		}
		c.ids.giveBack(id)
		c.ForgetProducerIDs()
	}
}

func TestProducerWithoutTransactionsNeedsNoChange(t *testing.T) {
	c, store, _ := newScripted(t, nil)
	for want := range int64(3) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = nil
		if resp := c.InitProducerID(t.Context(), software, req); resp.ErrorCode != 0 || resp.ProducerID != want || resp.ProducerEpoch != 0 {
			t.Errorf("%+v, want producer %d", resp, want)
		}
	}
	if calls := store.made(); len(calls) != 0 {
		t.Errorf("calls of %q", calls)
	}
}

// TestUnusedProducerIDGoesBack, unless it may be in use after all.
func TestUnusedProducerIDGoesBack(t *testing.T) {
	type answer = func(newID int64) (metadata.TransactionResult, error)
	other := func(int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{Producer: metadata.ProducerEpoch{ID: 77}}, nil
	}
	takes := func(newID int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{Producer: metadata.ProducerEpoch{ID: newID}}, nil
	}
	fences := func(int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{Err: metadata.ErrProducerFenced}, nil
	}
	away := func(int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{}, metadata.ErrUnavailable
	}
	lost := func(int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{}, metadata.ErrOutcomeUnknown
	}
	surprise := func(int64) (metadata.TransactionResult, error) {
		return metadata.TransactionResult{}, errors.New("surprise")
	}
	for name, test := range map[string]struct {
		answer answer
		back   bool
	}{
		"used":             {takes, false},
		"not used":         {other, true},
		"refused":          {fences, true},
		"nothing happened": {away, true},
		"a surprise":       {surprise, false},
		"lost":             {lost, false},
	} {
		for api, ask := range map[string]func(c *Coordinator) int16{
			"InitProducerId": func(c *Coordinator) int16 {
				return c.InitProducerID(t.Context(), software, initRequest(5, "id")).ErrorCode
			},
			"EndTxn": func(c *Coordinator) int16 {
				return c.EndTxn(t.Context(), software, endRequest(5, "id", metadata.ProducerEpoch{ID: 5, Epoch: 32766}, true)).ErrorCode
			},
		} {
			t.Run(api+"/"+name, func(t *testing.T) {
				c, _, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
					newID := int64(-1)
					switch op := requests[0].Op.(type) {
					case metadata.InitProducer:
						newID = op.NewProducerID
					case metadata.EndTransaction:
						newID = op.NewProducerID
					}
					if newID != 0 {
						t.Errorf("the new producer ID is %d, want the first", newID)
					}
					result, err := test.answer(newID)
					return metadata.TransactionsChanged{Results: []metadata.TransactionResult{result}}, err
				})
				ask(c)
				id, err := c.ids.take(t.Context())
				if err != nil || (id == 0) != test.back {
					t.Errorf("the next gets producer ID %d, %v; should 0 go back: %v", id, err, test.back)
				}
			})
		}
	}
}

// TestEndTakesNoProducerIDInVain: before the epochs have run out it needs none.
func TestEndTakesNoProducerIDInVain(t *testing.T) {
	for _, test := range []struct{ version, epoch int16 }{{5, 32765}, {4, 32766}, {5, 0}} {
		c, store, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			if id := requests[0].Op.(metadata.EndTransaction).NewProducerID; id != -1 {
				t.Errorf("%+v: the new producer ID is %d", test, id)
			}
			return yes(requests)
		})
		if resp := c.EndTxn(t.Context(), software, endRequest(test.version, "id", metadata.ProducerEpoch{ID: 5, Epoch: test.epoch}, true)); resp.ErrorCode != 0 {
			t.Errorf("%+v: %+v", test, resp)
		}
		if store.next != 0 {
			t.Errorf("%+v: producer IDs were taken", test)
		}
	}
}
