// Package sweep deletes objects that nobody needs.
//
//   - [Delete] deletes the data files of which nothing is left in any partition: their records
//     were merged or compacted into other files, dropped by retention, or deleted with their
//     topics. It waits until readers with older plans are done with them, and, where
//     snapshots of the metadata store are taken, until the newest one no longer names them.
//   - [Orphans] deletes the data files that the metadata store does not know: agents died between the
//     put and the commit, or after the deletion of an object was lost in the network. It also
//     removes uploads that were cut off.
//
// What it guarantees: an object is deleted only when no run refers to it, and none ever will. For
// dead files the metadata store says so. For orphans two rules about the time in a file's ID do, both by the
// metadata store's clock: no file is committed whose ID is older than [metadata.MaxFileAge], and no
// object is looked at before the hour of its ID has been over for an hour. So between listing,
// asking and deleting nothing can come to refer to it, whatever agents' clocks say.
//
// All of this holds of a store that only goes on. One that went back in time has nothing deleted: [Onward].
//
// The store comes first and the row second: whoever dies in between leaves a row whose object is gone, and the
// next round deletes it once more, which is no error.
//
// It refuses to know what is in a data file.
package sweep
