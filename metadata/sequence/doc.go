// Package sequence decides what a commit does: which offset each record batch
// of each data file gets, which batches are duplicates or refused, and which
// runs enter the index.
//
// [Decide] is a pure function of what the store read under its lock and of
// the files that want to commit. It does no I/O, so that both metadata stores
// share it and its tests need neither.
//
// It guarantees, for every partition: offsets are handed out without gaps in
// the order of the files and their batches; every accepted batch lies in
// exactly one run, and no other batch in any; running maximum timestamps
// never fall. Whatever is wrong with one batch is that batch's outcome and
// harms no other.
//
// It refuses to know how states are stored, locked or read.
package sequence
