// Package verify is verify(8): it knows which addresses can be delivered to,
// and sends a probe when it does not know. A probe is a message that goes the
// way of all mail and is never delivered, deferred or bounced; what the delivery
// agent says comes back through Update.
//
// Invariants:
//
//  1. What is known may be lost: it is not synced, and an address of which
//     nothing is known is probed again.
//  2. An address has one probe under way at a time; one that has not come back
//     after probeTTL is lost.
//  3. A failed probe does not overwrite what is known to be deliverable.
//  4. When the store cannot be read the answer is Deferred, never Deliverable
//     nor Undeliverable.
package verify
