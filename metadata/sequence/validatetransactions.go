package sequence

import (
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
)

// ValidateTransactions reports what no correct caller sends: an ID that is empty or named twice,
// an operation that isn't one, versions, timeouts and new producer IDs that can't be. A producer
// that doesn't exist is no such thing: clients name it, and the request is refused.
// Stores call it before they begin.
func ValidateTransactions(requests []metadata.TransactionRequest) error {
	seen := make(map[string]bool, len(requests))
	for _, r := range requests {
		err := validateOp(r.Op)
		switch {
		case r.ID == "":
			err = errors.New("it is empty")
		case seen[r.ID]:
			err = errors.New("it appears twice")
		}
		if err != nil {
			return fmt.Errorf("transactional ID %q: %w", r.ID, err)
		}
		seen[r.ID] = true
	}
	return nil
}

func validateOp(op metadata.TransactionOp) error {
	switch op := op.(type) {
	case metadata.InitProducer:
		if op.Timeout <= 0 {
			return fmt.Errorf("timeout of %v", op.Timeout)
		}
		if op.Expected != metadata.NoProducer && (op.Expected.ID < 0 || op.Expected.Epoch < 0) {
			return fmt.Errorf("expected producer %d of epoch %d", op.Expected.ID, op.Expected.Epoch)
		}
		return validateNewProducer(op.NewProducerID)
	case metadata.AddToTransaction:
		if op.VerifyOnly && op.Group != nil {
			return errors.New("only partitions can be verified")
		}
		return nil
	case metadata.TransactionOffsets:
		for _, o := range op.Offsets {
			if o.GroupID != op.GroupID {
				return fmt.Errorf("an offset of group %q among those of %q", o.GroupID, op.GroupID)
			}
		}
		return validateVersion(op.Version)
	case metadata.EndTransaction:
		err := validateVersion(op.Version)
		if err != nil || op.Version < metadata.TransactionV2 || op.Producer.Epoch < metadata.LastProducerEpoch {
			return err
		}
		return validateNewProducer(op.NewProducerID)
	case metadata.ExpireTransaction:
		return nil
	}
	return fmt.Errorf("unknown operation %T", op)
}

func validateNewProducer(id int64) error {
	if id < 0 {
		return fmt.Errorf("new producer ID %d", id)
	}
	return nil
}

func validateVersion(v metadata.TransactionVersion) error {
	if v != metadata.TransactionV1 && v != metadata.TransactionV2 {
		return fmt.Errorf("unknown transaction version %d", v)
	}
	return nil
}
