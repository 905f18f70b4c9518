// Package sequence decides what a commit does: which offset each record batch
// of each data file gets, which batches are duplicates or refused, and which
// runs enter the index; what becomes of transactions, and of partitions when
// they end; and when the runs of a merged file may take the place of older ones.
//
// [Decide] and [DecideTransactions] are pure functions of what the store read under
// its lock and of what wants to commit. They do no I/O, so that both metadata
// stores share them and their tests need neither.
//
// They guarantee, for every partition: offsets are handed out without gaps in
// the order of the files and their batches; every accepted batch lies in
// exactly one run, and no other batch in any; running maximum timestamps
// never fall. Whatever is wrong with one batch is that batch's outcome and
// harms no other, and so with one request about a transaction. A batch
// of a transaction comes before its marker, or is refused; no last stable offset falls.
//
// It refuses to know how states are stored, locked or read.
package sequence
