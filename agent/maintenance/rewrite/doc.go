// Package rewrite reads runs batch by batch and writes them into new data files, which take
// their place in the index. Merging and compaction are built of it.
//
// [Reader] yields batches as consumers get them: checked, with their offsets, the markers of
// transactions among them. It reads by few large ranges, in bounded memory.
// [Output] is one new data file. Its life is a crash story:
//
//	filled      nothing happened
//	put         an object that nothing refers to; the collection of orphans deletes it
//	swapped in  the new runs stand, the old ones and their bytes go after the grace period
//
// Readers see either the old runs or the new ones, and can read both.
//
// The package knows neither which runs are worth rewriting nor which records are left out.
package rewrite
