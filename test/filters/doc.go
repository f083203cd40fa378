// Package filters compares Postroad with the real Postfix in front of the same mail
// filters: scripted ones (package testkit) and real ones from Debian. Both servers
// run as private instances on loopback ports; compared are what the filter sees,
// what the client hears, what is delivered and what the mail log says. Its tests
// need root and have the build tag oracle:
//
//	go test -tags oracle ./test/filters
//
// With -sbin DIR the commands of another Postfix are used, such as a 3.11; cases
// that Debian's 3.7 answers otherwise are compared only then.
package filters
