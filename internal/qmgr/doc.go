// Package qmgr decides when which recipients of which message are handed to
// which delivery agent, and carries the answers back into the queue: what
// qmgr(8) does, and what its requests to bounce(8) and defer(8) did.
//
// The unit is the job: the recipients of one message that share a destination.
// Jobs that run or may run now are in memory; all others wait on disk in an
// index by destination and due time, of which memory holds one line per
// destination.
//
// Invariants:
//
//  1. scheduler (sched.go) is pure: no I/O, no clock, no goroutine. Manager
//     guards it with one lock and does the I/O outside.
//  2. A message is in memory at most once; its jobs share it.
//  3. A recipient is done in the store only after its answer was logged, and a
//     failed recipient only after the report about it was committed.
//  4. A panic in an agent is a deferral of that attempt.
//  5. Busy slots of a transport never exceed its process limit, those of a
//     destination never its window.
package qmgr
