// Package protocol is Kafka on the wire: frames, request and response headers,
// the one table of the API versions that are served, and record batches (magic
// 2) with their compression. The messages themselves come from franz-go's kmsg.
//
// What it guarantees:
//
//   - Nothing that a peer sends makes it panic, loop, or allocate far more
//     than was sent: sizes, counts and tags are checked against the bytes that
//     are there before anything is allocated for them, and every decompression
//     has a limit.
//   - Record batches are not copied. A parsed request's byte slices (a Produce
//     request's records among them) alias the frame, a [Batch] aliases what it was
//     split from, and a [Record] of an uncompressed batch aliases the batch. Who
//     holds one of them holds the frame. Strings are copies.
//   - An accepted batch ([Batch.Validate]) can be patched in place with its
//     offsets, and every consumer can decode it (compressed records are the
//     producer's word until somebody decompresses them).
//
// The package opens no socket, holds no state besides pools of compressors, and
// refuses to know topics, offsets, error codes and who may do what.
package protocol
