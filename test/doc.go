// Package test is the end-to-end proof: scenarios against the real Postfix,
// crash campaigns, full and read-only disks, sweeps of generated sessions over
// real configurations, hostile clients. Its tests need root and Debian's Postfix,
// and have the build tag oracle:
//
//	go test -tags oracle ./test/...
//
// Useful flags behind the package (make build comes first):
//
//	-run 'TestScenarios/all/bdat'   one scenario
//	-against postfix                Postfix against itself: is the harness steady?
//	-sbin DIR                       another Postfix's commands in Postroad's place,
//	                                to prove the 3.7-to-3.11 rules with a 3.11
//	-update                         write Postfix's transcripts to testdata/postfix
//	-rounds N -seed N               of the crash campaign
//	-foes N                         of the hostile campaign (make hostile)
//	-sessions N -only NAME          of the sweep (make sweep)
//
// To add a scenario, write test/scenarios/NAME.scn (package scenario has the
// grammar); nothing else has to be touched. The transcripts in testdata are for
// reading only: Postfix answers anew in every run.
package test
