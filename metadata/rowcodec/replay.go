package rowcodec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
)

// What became of a batch, as stored. Numbers are never reused.
const (
	kindAccepted          = 0
	kindDuplicate         = 1
	kindUnknownPartition  = 2
	kindOutOfOrder        = 3
	kindFenced            = 4
	kindProducerIDMapping = 5
	kindTransactionState  = 6
)

var kindErrors = map[byte]error{
	kindUnknownPartition:  metadata.ErrUnknownPartition,
	kindOutOfOrder:        metadata.ErrOutOfOrderSequence,
	kindFenced:            metadata.ErrInvalidProducerEpoch,
	kindProducerIDMapping: metadata.ErrProducerIDMapping,
	kindTransactionState:  metadata.ErrInvalidTransactionState,
}

// EncodeReplay encodes the outcomes of a file, so that a repeated commit of it
// is answered as the first one was:
//
//	version  byte
//	appends  count, then each:
//	           batches  count, then each:
//	                      kind byte
//	                      base offset - previous in this append   signed, only if it has one
//
// It fails on an error that is no outcome of a file which takes part in a
// commit (one that is too old is refused again, not replayed).
func EncodeReplay(outcomes [][]metadata.Outcome) ([]byte, error) {
	b := []byte{version}
	b = binary.AppendUvarint(b, uint64(len(outcomes)))
	for _, batches := range outcomes {
		b = binary.AppendUvarint(b, uint64(len(batches)))
		previous := int64(0)
		for _, o := range batches {
			kind, err := kindOf(o)
			if err != nil {
				return nil, err
			}
			b = append(b, kind)
			if o.Err == nil {
				b = binary.AppendVarint(b, o.BaseOffset-previous)
				previous = o.BaseOffset
			}
		}
	}
	return b, nil
}

func kindOf(o metadata.Outcome) (byte, error) {
	switch {
	case o.Err == nil && o.Duplicate:
		return kindDuplicate, nil
	case o.Err == nil:
		return kindAccepted, nil
	}
	for kind, err := range kindErrors {
		if errors.Is(o.Err, err) {
			return kind, nil
		}
	}
	return 0, fmt.Errorf("outcome %w can't be replayed", o.Err)
}

// DecodeReplay is the reverse of EncodeReplay.
func DecodeReplay(b []byte) ([][]metadata.Outcome, error) {
	r := newReader(b)
	outcomes := make([][]metadata.Outcome, r.count(1))
	for i := range outcomes {
		batches := make([]metadata.Outcome, r.count(1))
		previous := int64(0)
		for j := range batches {
			switch kind := r.byte(); kind {
			case kindAccepted, kindDuplicate:
				previous += r.varint()
				if previous < 0 {
					r.fail("offset %d", previous)
				}
				batches[j] = metadata.Outcome{BaseOffset: previous, Duplicate: kind == kindDuplicate}
			default:
				err, ok := kindErrors[kind]
				if !ok {
					r.fail("outcome %d", kind)
				}
				batches[j] = metadata.Outcome{BaseOffset: -1, Err: err}
			}
		}
		outcomes[i] = batches
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return outcomes, nil
}
