// Package queue is the durable store of messages: what incoming, active,
// deferred and hold are in a Postfix spool. It holds envelopes, contents, the
// state of every recipient and an index of waiting jobs by destination; it
// decides nothing about when to deliver.
//
// Invariants (assertions in the code cite the number):
//
//  1. Commit returns nil only when envelope, content and arrival mark are on
//     stable storage, in one atomic batch; a large content is synced in its own
//     file, and its directory too, before the batch that names it.
//  2. A message that was committed exists until every recipient is done and the
//     reports about them are committed; only Remove deletes it.
//  3. Settling is not synced: a crash may forget that a delivery took place and
//     repeat it. It never forgets a message.
//  4. Every recipient that is not done is reachable after a restart: through
//     the arrival mark, through exactly one job record, or through the hold mark.
//  5. After a failed write or sync the store is poisoned: nothing is
//     acknowledged any more until the store was closed and opened again.
//  6. A key of kind E, B, A, S or J is written at most once in its life, so
//     that it can be removed with a single delete.
//  7. The file of a large content is unlinked only after the removal of its
//     message is on stable storage.
//
// STATES.md lists the legal states of a message on disk; the crash test checks
// that recovery always lands in one of them.
package queue
