// Package testkit is what the tests of all rooms share: a DNS server written as
// one literal, an SMTP client that plays a script, an SMTP sink that misbehaves
// as told, a munger that hides what must vary, a ledger of acknowledged
// messages with its judge, and helpers for processes and waiting. Only tests
// and the programs in bench/ and test/ import it.
//
// Invariants:
//
//  1. Nothing here needs root; what does is in testkit/box and testkit/mailkit.
//  2. Every server closes with the test that started it and listens on the
//     address it was given, by default a free port of 127.0.0.1.
//  3. A process is ended by its own number only, never by its name.
//  4. A message counts as acknowledged only after the client has read the whole
//     final 250; the ledger is told afterwards, so it can only say less than
//     the truth, never more.
//  5. A sink has a message before its sender hears that it was accepted.
package testkit
