// Package compaction fills a compacted topic with several times as many records as it has keys, in all
// codecs and in transactions that are committed or aborted, waits until the agents have compacted it, and lets a Java client
// read it as a service does that keeps a table of it: `make compaction`.
//
// The client must get the latest committed record of each of the 1,000,000 keys, at the offset
// that it was produced at, and nothing else.
package compaction
