// Package policy asks the policy servers of check_policy_service: the client
// side of the policy delegation protocol of smtpd(8).
//
// A request is a list of name=value lines and an empty line; so is the reply,
// of which only the attribute "action" counts. Connections are kept and shared
// by all sessions of a service.
//
// Invariants:
//
//  1. A reply is bounded in size and in time, whatever the server sends.
//  2. A value never adds a line to a request: control characters and what is
//     no UTF-8 are sent as "?".
//  3. A connection is used again only after a complete reply, when the server
//     has sent nothing more and has not closed it.
//  4. There are never more connections to a server than Postfix would have
//     processes that ask it.
package policy
