// Package sweep asks Postfix and Postroad the same questions over real
// configurations: who may send what to whom. Each configuration is served by
// both in a box; generated clients, names, senders, recipients and logins go
// through each of its SMTP services, and every reply and every line of the log
// must be equal.
//
// A configuration is a directory with main.cf, master.cf and the tables that it
// has. What it names and does not have is made up (stage.go): tables of databases
// become text files with content made from the configuration's domains, policy
// servers, mail filters and the server of logins are played by the test, lists of
// the DNS list what they should. Restriction lists, classes, their order and all
// other parameters stay as they are.
//
// Invariants:
//
//  1. The same seed gives the same files and the same sessions.
//  2. Both subjects get the same files, one box each; nothing is shared.
//  3. A session ends before its errors would slow it down, so that a sweep says
//     nothing about speed.
//  4. Where Postfix 3.7 and 3.11 differ, compare.go says so in a row with the
//     reason.
package sweep
