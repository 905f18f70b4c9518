// Package merge joins small data files into large ones, so that the index has few rows of a
// partition, consumers that catch up need few requests, and retention has little to do.
//
// A merge claims files of one level, in the order of their commits, and writes their runs anew, those of a
// partition side by side, into files one level higher. A file is merged when enough
// others of its level wait with it, or, fresh from producers, when it has waited for long
// enough. At the highest level, or once its runs are large, it is left alone: it is settled. So:
//
//   - A record is written at most 1 + [metadata.MaxFileLevel] times by producers and merges: that
//     bounds the write amplification, at 4.
//   - Files of which more than half is dead (topics with different retention share them) are
//     written anew at their level. What that writes is less than what died.
//   - A partition has at most about as many rows as a claim takes files, on each level, and then one for each
//     8 MiB, or for what 8 GiB of data files hold of it where it is a small one of very many.
//
// Runs that hang together become one, with the markers of transactions between them. A run that
// can't be read, or whose object is missing, is left as it is, loudly, and the others are merged
// around it. A merge may die anywhere: each new file is swapped in on its own, and what is not
// swapped in stays what it was. Two merges of the same files (a claim that ran out) harm nothing: the
// index takes the runs of one of them.
package merge
