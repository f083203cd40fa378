// Package tls looks at the TLS of Postroad and of the real Postfix from outside, as
// scanners do: which protocols, cipher suites and groups they accept under the same
// settings, what certificates they show to whom, and what they do with renegotiation,
// compression, fallback, tickets and commands that come before their time. It speaks
// bytes of its own, openssl(1) and Go's client. docs/tls.md has the differences that
// it allows. Its tests need root and have the build tag oracle:
//
//	go test -tags oracle ./test/tls
//
// With -sbin DIR the commands of another Postfix are used, such as a 3.11.
package tls
