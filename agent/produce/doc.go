// Package produce is the write path: from a Produce request to offsets.
//
// The life of a record here, and what is true if the agent dies after each step:
//
//	validate    batch header, CRC, topic rules              nothing stored, nothing acknowledged
//	accumulate  into the open file, with all partitions'    the same
//	seal        the file is full, old enough, or the        the same
//	            store is idle
//	encode+put  one object, many uploads in parallel        an orphan object, swept later
//	commit      one metadata transaction, files in the      durable and readable; not acknowledged:
//	            order they were sealed                      the client's retry is a duplicate by sequence
//	ack         waiters of the file are answered            acknowledged
//
// Guarantees: nothing is answered without error before its commit; files commit
// in the order in which they were sealed, so the batches of one connection
// keep their order; when a file fails for good, all that was accumulated until
// then fails too, so that no later batch of a producer overtakes an earlier one. (A
// batch that is on its way to us at that moment, sent before its producer heard
// of the failure, is taken as Kafka's leader takes it: by its sequence.)
// A lost reply of the object store or of the metadata store is retried with
// the same bytes and the same file ID, which both of them accept.
//
// The package knows no sockets and no SQL, and doesn't decide offsets.
package produce
