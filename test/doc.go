// Package test is the end-to-end proof: scenarios against the real Postfix,
// crash campaigns, full and read-only disks. Its tests need root and Debian's
// Postfix, and have the build tag oracle:
//
//	go test -tags oracle ./test/...
package test
