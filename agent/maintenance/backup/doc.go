// Package backup keeps snapshots of the metadata store in the bucket.
//
// The bucket has every record, but only the metadata store knows their order and what topics,
// groups and producers there are. A snapshot has all of that as of one moment; what came after
// it, package recovery replays from the data files. So a metadata store that is lost is no catastrophe.
//
// A snapshot is some objects below snapshots/<name>/, where the name begins with its
// time (UTC, by the store's clock):
//
//	part-00000.jsonl.zst    rows, one JSON object a line (metadata.SnapshotRow), as zstd
//	part-00001.jsonl.zst    ...
//	manifest.json           the Manifest, which is put last
//
// A snapshot without a manifest is torn: its writer died, or is at it still. Whatever reads
// snapshots passes it over. A part is at most some 8 MiB stored and 64 MiB decoded, and the manifest has
// its length and CRC-32C; what doesn't fit is [ErrDamaged], and never half read.
//
// Anybody can look into one: zstdcat part-*.jsonl.zst | jq.
package backup
