// Package fsck compares the object store with the metadata store and says where they
// disagree. It is the check behind `wadi fsck`.
//
// It walks the index by partitions, then the objects, then the data files, in slices, so its memory
// is bounded by what it reports, not by the log; and it works while agents do. An object
// or a row that it saw may be gone or replaced a moment later, so nothing is a finding unless a second look at
// the store, after the first one at the object, confirms it: a row that still stands
// protects its file, since files are deleted only long after their last row went.
//
// What belongs together by a rule: rows cover the offsets from the log start to the next offset once;
// each row names a live file, and lies where the file's footer has a section of its
// partition; a file counts its rows; an object that no file is known of is young.
//
// Nothing is changed unless asked. A repair deletes what nobody refers to and corrects
// what a file counts. It never touches rows: where an object is gone, the index is all that tells what was lost.
package fsck
