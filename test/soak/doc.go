// Package soak writes to a cluster at a steady rate, for as long as one likes, and checks
// every record that comes back while records are merged, dropped and compacted, and
// agents die.
//
// One producer writes each partition, one record after the other, idempotently; so the n-th
// record must get offset n, and what a reader finds at an offset follows from the seed alone
// ([Payload]). The checker therefore needs to remember only how far each partition is
// acknowledged, and when what was written. Its rules, for every read at any time:
//
//   - What is acknowledged as record n has offset n.
//   - A record at offset n is record n of its partition: key, value and timestamp.
//   - Offsets ascend without a hole, except
//   - where retention dropped the front of the partition: no record that is younger
//     than retention.ms (by one second at most), and none that was among the last
//     retention.bytes of its partition (see [Topic]);
//   - in a compacted topic: only records whose keys have a later record, and tombstones
//     that are older than delete.retention.ms.
//   - A reader comes to the end: no record that was acknowledged stays away.
//
// Those who read are tailing consumers, from the first record on, and consumers that begin anywhere
// in some partitions and read on to where the end was ([Run]).
package soak
