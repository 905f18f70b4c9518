package produce

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// A transactional batch (KIP-98) belongs to the transaction of its producer. Whether
// it may, the sequencer decides where offsets are assigned, by producer ID and epoch:
// a batch is in the transaction, and before its end, or refused. So what remains
// here is what the request says of itself.

const (
	// abortableVersion is the one whose clients know TRANSACTION_ABORTABLE and add
	// partitions before they write; the batches of later ones are never outside of a transaction.
	abortableVersion = 11
	// addsPartitionFrom is the first version whose batches add their partition to
	// the transaction.
	addsPartitionFrom = 12
)

// checkTransaction says why a request with transactional batches is refused as a
// whole, nil for any other request. What is wrong with a batch otherwise is its partition's affair.
func checkTransaction(req *kmsg.ProduceRequest) *refusal {
	var producer metadata.ProducerEpoch
	found := false
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			batch, _, err := protocol.NextBatch(req.Topics[i].Partitions[j].Records)
			if err != nil || !batch.IsTransactional() {
				continue
			}
			this := metadata.ProducerEpoch{ID: batch.ProducerID(), Epoch: batch.ProducerEpoch()}
			switch {
			case req.TransactionID == nil:
				return refuse(kerr.TransactionalIDAuthorizationFailed, "a request with transactional batches needs a transactional ID")
			case found && this != producer:
				return refuse(kerr.InvalidProducerIDMapping, "the transactional batches of a request must be of one producer")
			}
			producer, found = this, true
		}
	}
	return nil
}
