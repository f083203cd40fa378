// Package table is the room of lookup tables: what Postfix calls dict(3), maps(3),
// mail_addr_find(3) and match_list(3), and the work of postmap(1), postalias(1)
// and proxymap(8).
//
// A table is named "type:name". The types are rows in types.go; each has a
// file of its own. A Set holds the tables of one configuration generation, a
// Maps is the list of tables of one parameter, and a MatchList is a list like
// mydestination or mynetworks.
//
// Invariants:
//
//  1. A lookup has three answers: found, not found, error. An error means "try
//     later"; it is never folded into "not found". A table that cannot be
//     opened, or whose file makes no sense, answers every lookup with an error.
//  2. A table is an immutable snapshot from the moment it is opened, safe for
//     any number of goroutines, and lookups take no locks. (unix: is the one
//     exception: it follows the system's user database, as getpwnam does.)
//  3. Keys of a fixed table are folded to lower case before they are looked up,
//     keys of a pattern table are not. An empty key is never looked up.
//  4. Derived keys (parent domains, parent networks, "@domain", addresses
//     without extension, bare local parts) go to fixed tables only.
//  5. Search is key-major: all tables of a list see one key before any table
//     sees the next derived key. The first error ends the search.
//  6. A lookup that returns an empty text is a configuration error.
//  7. Files are read under the shared flock(2) that Postfix's postmap respects,
//     and written as a new file that takes the place of the old in one rename.
//
// # hash: and btree:
//
// The name is the path without ".db". The rules, in order:
//
//   - PATH.db exists: it is used. It must be a Berkeley DB file of the right
//     kind; a damaged one is an error. When the text PATH is newer (and not
//     just being edited: older than 100 seconds) a warning says that the .db is
//     older than its source, and the .db is still used, as Postfix does.
//   - PATH.db is missing and the text PATH exists: the text is read as texthash:
//     would (as an alias file where a line has "name: value" form), with
//     one warning that names postmap.
//   - Both are missing: an error.
//
// A configuration that is carried over from Postfix therefore works without
// postmap and without Berkeley DB on the machine, and the .db files that we
// write are read by Postfix.
//
// # Patterns
//
// pcre: runs PCRE2 with a limit on the steps of one match, so that no peer can
// spend our time with a hard text; a rule that gives up is logged and does not
// apply. regexp: runs on Go's regular expressions, which need no limit, on bytes
// as glibc does in the C locale; back references and word ends go to PCRE2.
// Where a POSIX expression can match the same text in several ways, the groups
// are those that a backtracking search finds first, which is what glibc gives for
// all but contrived expressions.
//
// # Changed files
//
// Open is the only reader of table files. A later version that notices changed
// files replaces the Table inside the Set's entry; nothing else holds file state.
//
// # Servers
//
// tcp:, socketmap:, memcache: and ldap: ask a server at each lookup, so they are
// an exception to invariant 2. Opening them asks nothing. remote.go has what they
// share: at most 32 connections to a server (8 to a directory), kept for 10
// seconds without work and used for 100 (a minute and 10 minutes); more lookups
// wait for their turn, within their time. A kept connection that the server closed
// meanwhile is replaced at once. On a kept connection nothing may come in
// unasked, and an answer must not be followed by anything: the next lookup would
// take it for its own. Whatever is no definite answer is an error, and the
// connection is given up.
//
// tcp: is tcp_table(5), with 2xx, 4xx and 5xx replies of at most 4096 bytes. A server that is
// away is tried 10 times, a second apart; one that hangs costs 100 seconds.
//
// socketmap: is socketmap_table(5), over inet: and unix:, with
// socketmap_max_reply_size. A lost connection is tried once more.
//
// memcache: is memcache_table(5), for lookups: memcache, backup, key_format,
// key_digest, domain, flags, ttl, data_size_limit, line_size_limit, max_try,
// retry_pause and timeout. An answer of the backup is stored in the server.
//
// ldap: is ldap_table(5), with LDAP version 3 whatever version says: server_host
// (URLs, hosts, several of them), server_port, timeout, search_base, scope,
// query_filter, domain, result_attribute, special_result_attribute,
// terminal_result_attribute, leaf_result_attribute, result_format (result_filter),
// recursion_limit, expansion_limit, size_limit, dereference, chase_referrals,
// bind, bind_dn, bind_pw, sasl_mechs (EXTERNAL only), sasl_authz_id, start_tls,
// tls_ca_cert_file, tls_ca_cert_dir, tls_cert, tls_key and tls_require_cert. One
// search is answered in timeout seconds and with 16 MiB at most, a lookup with all
// of its searches in 5 minutes.
//
// Differences from Postfix:
//
//   - A reply with a null byte, with the key of another question, or followed by
//     another reply is an error; Postfix takes a part of it for the answer. Only
//     a value of a directory ends at a null byte as it does there.
//   - tcp: gives up at once when the server hangs or sends a line that is too long,
//     where Postfix tries 9 times more.
//   - memcache: answers lookups only: postmap cannot write to it. While the
//     server is away, answers of the backup are not offered to it.
//   - ldap: goes on to the next server when one hangs or refuses to authenticate us,
//     where Postfix does so only when it cannot connect.
//   - ldap: refuses a bad query_filter when the table is opened; Postfix fails at each
//     lookup. bind = sasl without EXTERNAL is refused too.
//   - ldap: verifies certificates as Go does: a common name without a subject
//     alternative name does not count. tls_cipher_suite, tls_random_file and
//     debuglevel have no effect. What a server says to a failed bind is not logged.
package table
