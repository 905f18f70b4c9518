package txncheck

import "time"

// ms is a moment of the fixture.
func ms(n float64) Moment { return Moment(n * float64(time.Millisecond)) }

// The fixture's partitions and transactions.
const (
	orders, input, output = 0, 1, 2

	plainTxn  = 0 // a producer without transactions
	committed = 1 // of writer-0, in orders and input
	aborted   = 2 // of writer-0, in orders and input
	unknown   = 3 // of writer-1, in input; it was committed
	transform = 4 // of the group
	ghost     = 5 // of writer-0, in orders; fenced before it tried to commit
)

// fixture is a history in which all is right.
func fixture(strict bool) History {
	h := History{
		Strict:     strict,
		Partitions: []Partition{{"orders", 0, false}, {"input", 0, true}, {"output", 0, false}},
		Txns: []Txn{
			plainTxn: {Writer: "plain", Ending: Never, Ended: Never, Decidable: Never, Fenced: Never, Superseded: Never,
				Records: []Sent{sent(orders, 0, 1)}},
			committed: {Writer: "writer-0", Transactional: true, Fate: Committed, SentCommit: true,
				Ending: ms(20), Ended: ms(21), Decidable: ms(20), Fenced: Never, Superseded: ms(31),
				Records: []Sent{sent(orders, 1, 10), sent(orders, 2, 10), sent(input, 0, 10)}},
			aborted: {Writer: "writer-0", Transactional: true, Fate: Aborted,
				Ending: ms(40), Ended: ms(41), Decidable: ms(40), Fenced: Never, Superseded: ms(51),
				Records: []Sent{sent(orders, 4, 30), sent(input, 2, 30)}},
			unknown: {Writer: "writer-1", Transactional: true, SentCommit: true,
				Ending: ms(42), Ended: Never, Decidable: ms(42), Fenced: ms(60), Superseded: ms(60),
				Records: []Sent{sent(input, 3, 32)}},
			transform: {Writer: "transformer-0", Transactional: true, Fate: Committed, SentCommit: true,
				Ending: ms(65), Ended: ms(66), Decidable: ms(65), Fenced: Never, Superseded: ms(80),
				Records: []Sent{sent(output, 0, 61), sent(output, 1, 61)}, Inputs: []Input{{input, 4}}},
			ghost: {Writer: "writer-0", Transactional: true, SentCommit: true,
				Ending: ms(75), Ended: Never, Decidable: ms(68), Fenced: ms(70), Superseded: ms(70),
				Records: []Sent{sent(orders, 6, 50)}},
		},
		Log: [][]Entry{
			orders: {record(plainTxn, 0), record(committed, 0), record(committed, 1), marker(committed, CommitMarker),
				record(aborted, 0), marker(aborted, AbortMarker), record(ghost, 0), marker(ghost, AbortMarker)},
			input: {record(committed, 2), marker(committed, CommitMarker), record(aborted, 1), record(unknown, 0),
				marker(aborted, AbortMarker), marker(unknown, CommitMarker)},
			output: {record(transform, 0), record(transform, 1), marker(transform, CommitMarker)},
		},
		Snapshots: []Snapshot{
			snapshot(5, []int64{1, 0, 0}, []int64{1, 0, 0}),
			snapshot(12, []int64{1, 0, 0}, []int64{3, 1, 0}), // committed is open
			snapshot(22, []int64{4, 2, 0}, []int64{4, 2, 0}),
			snapshot(35, []int64{4, 2, 0}, []int64{5, 4, 0}), // aborted and unknown are open
			snapshot(41.5, []int64{6, 3, 0}, []int64{6, 5, 0}),
			snapshot(72, []int64{8, 6, 3}, []int64{8, 6, 3}),
		},
		Offsets: []Offsets{
			{Asked: ms(50), Answered: ms(51), Offsets: []int64{-1, -1, -1}},
			{Asked: ms(90), Answered: ms(91), Offsets: []int64{-1, 4, -1}},
		},
		Reads: []Read{
			// A tailing reader of committed records.
			{Reader: 1, Committed: true, Partition: orders, At: ms(23), From: 0, To: 3, StableOffset: 4, Got: []Span{{0, 2}}},
			{Reader: 1, Committed: true, Partition: input, At: ms(24), From: 0, To: 1, StableOffset: 2, Got: []Span{{0, 0}}},
			{Reader: 1, Committed: true, Partition: input, At: ms(73), From: 1, To: 4, StableOffset: 6, Got: []Span{{3, 3}}},
			{Reader: 1, Committed: true, Partition: output, At: ms(73), From: 0, To: 2, StableOffset: 3, Got: []Span{{0, 1}}},
			// A reader of everything, and one of what is committed, from the start.
			{Reader: 2, Partition: orders, At: ms(95), From: 0, To: 8, StableOffset: 8, Got: []Span{{0, 7}}},
			{Reader: 2, Partition: input, At: ms(95), From: 0, To: 6, StableOffset: 6, Got: []Span{{0, 5}}},
			{Reader: 2, Partition: output, At: ms(95), From: 0, To: 3, StableOffset: 3, Got: []Span{{0, 2}}},
			{Reader: 3, Committed: true, Partition: orders, At: ms(95), From: 0, To: 8, StableOffset: 8, Got: []Span{{0, 2}}},
			{Reader: 3, Committed: true, Partition: input, At: ms(95), From: 0, To: 6, StableOffset: 6, Got: []Span{{0, 0}, {3, 3}}},
			{Reader: 3, Committed: true, Partition: output, At: ms(95), From: 0, To: 3, StableOffset: 3, Got: []Span{{0, 1}}},
		},
	}
	h.Txns[transform].Records[0].Source = Source{input, 0}
	h.Txns[transform].Records[1].Source = Source{input, 3}
	return h
}

// sent is a record that was acknowledged a millisecond after it was sent.
func sent(partition int32, offset int64, at float64) Sent {
	return Sent{Partition: partition, Offset: offset, At: ms(at), Acked: ms(at + 1), Source: noSource}
}

// producerOf is the producer ID of the fixture's writers.
var producerOf = map[int32]int64{plainTxn: 1, committed: 2, aborted: 2, ghost: 2, unknown: 3, transform: 4}

func record(txn, seq int32) Entry {
	return Entry{Kind: Data, Transactional: txn != plainTxn, ProducerID: producerOf[txn], ProducerEpoch: int16(txn), Record: RecordID{txn, seq}}
}

func marker(txn int32, kind EntryKind) Entry {
	return Entry{Kind: kind, Transactional: true, ProducerID: producerOf[txn], ProducerEpoch: int16(txn + 1)}
}

func snapshot(at float64, stable, high []int64) Snapshot {
	return Snapshot{
		Stable: Watermarks{Asked: ms(at), Answered: ms(at + 0.2), Offsets: stable},
		High:   Watermarks{Asked: ms(at + 0.3), Answered: ms(at + 0.4), Offsets: high},
	}
}
