// Package recovery rebuilds a metadata store that was lost, from the newest snapshot of it
// in the bucket (package backup) and the data files that came after.
//
//  1. Read the snapshot, all but the rows of data files.
//  2. List the bucket. Files from producers that the snapshot doesn't know came later, or were never
//     committed: their agent died before. Nobody can tell; they are restored as well.
//  3. Put them into order. Merged files name the commits of what they were made from: that is exact. So are
//     sequence numbers of idempotent producers. The rest is ordered by the times in the files' IDs, each by
//     its agent's clock, and where two that are near each other share a partition, the report says so.
//  4. Replay them through the sequencer's rules (sequence.Restore): duplicates are left out, nothing else is.
//  5. End the transactions that were open in the snapshot or have written since: how they ended is lost with the store,
//     so the operator decides.
//  6. Import everything into an empty store, in one transaction.
//
// Steps 3 to 5 are pure functions of what was read. Until step 6 nothing is changed, and nothing in the
// bucket ever: a recovery may die anywhere, or be done twice.
//
// What can't come back is what only the store knew and changed since the snapshot: committed offsets and
// groups, configs, topics' names, deletions, ends of transactions.
package recovery
