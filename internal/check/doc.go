// Package check finds what is wrong with a configuration beyond what stops the
// mail system: tables that cannot be opened, secrets that others can read,
// services that want the same address, settings that nothing uses, and mistakes
// that are copied from one page to the next. It is what "postroad check" says.
//
// Invariants:
//
//  1. It changes nothing. The only servers that it asks are those of lookup tables,
//     for a key that none has, within five seconds.
//  2. A finding never holds the content of a secret.
//  3. An error is what keeps the mail system, or a service of it, from doing its
//     work; everything else is a warning or a note.
package check
