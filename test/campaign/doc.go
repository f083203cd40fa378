// Package campaign is the proof of the queue's promise on the real program:
// after the 250 a message survives kill -9, a full disk and a spool that has
// become read-only, and in the middle of hostile clients. Each campaign runs in a
// box, against any subject, and keeps its books outside the server
// (testkit.Ledger).
//
// Invariants:
//
//  1. A copy is lost only when the queue is empty and it has not arrived.
//  2. The whole server is killed at once: no process of it goes on in between.
//  3. The clients never stop for a crash; they see it as strangers do.
package campaign
