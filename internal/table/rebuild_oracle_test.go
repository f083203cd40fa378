//go:build oracle

package table

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOracleRebuild has Postfix's postmap make tables anew, most of them in
// place, while they are in use. A key that every version has must always be
// found, and without an error: we wait for the lock that postmap holds.
func TestOracleRebuild(t *testing.T) {
	dir := oracleDir(t)
	const n = 20_000
	text := func(round int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "user%d@example.com mailbox%d/%d\n", i, round, i)
		}
		return b.String()
	}
	for typ := range formats() {
		path := writeFile(t, dir, typ, text(0))
		postfix(t, dir, "", "postmap", typ+":"+path)
		tab, err := Open(typ+":"+path, Options{UTF8: true})
		if err != nil {
			t.Fatal(err)
		}
		var stop atomic.Bool
		var lookups atomic.Int64
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := g; !stop.Load(); i = (i + 7919) % n {
					key := fmt.Sprintf("user%d@example.com", i)
					value, ok, err := tab.Lookup(context.Background(), key)
					if err != nil || !ok || !strings.HasSuffix(value, fmt.Sprintf("/%d", i)) {
						t.Errorf("%s: %s gives %q, %v, %v", typ, key, value, ok, err)
						return
					}
					lookups.Add(1)
				}
			})
		}
		for round := 1; round <= 3; round++ {
			writeFile(t, dir, typ, text(round))
			postfix(t, dir, "", "postmap", typ+":"+path)
			if got := answer(tab, "user7@example.com"); got != fmt.Sprintf("mailbox%d/7", round) {
				t.Errorf("%s: after round %d: %q", typ, round, got)
			}
			if typ == "cdb" {
				continue
			}
			postfix(t, dir, "extra@example.com 1\n", "postmap", "-i", typ+":"+path)
			if got := answer(tab, "extra@example.com"); got != "1" {
				t.Errorf("%s: after postmap -i: %q", typ, got)
			}
		}
		stop.Store(true)
		wg.Wait()
		t.Logf("%s: %d lookups meanwhile", typ, lookups.Load())
	}
}

// TestOracleForeign reads files that the tools of the libraries make, which
// store no NULs, and has the tools read ours.
func TestOracleForeign(t *testing.T) {
	dir := oracleDir(t)
	const n = 5000
	var lines, pairs strings.Builder
	var keys []string
	var entries []Entry
	for i := range n {
		key, value := fmt.Sprintf("user%d@example.com", i), strings.Repeat("long ", i%7*i%2000)+fmt.Sprint("box ", i)
		fmt.Fprintf(&lines, "%s\n%s\n", key, value)
		fmt.Fprintf(&pairs, "%s %s\n", key, value)
		keys = append(keys, key, key+"x", key[1:])
		entries = append(entries, Entry{Key: key, Value: value, Bare: true})
	}
	dump := "VERSION=3\nformat=print\ntype=btree\nmapsize=67108864\nHEADER=END\n"
	for line := range strings.Lines(lines.String()) {
		dump += " " + line
	}
	withHead := writeFile(t, dir, "dump", dump+"DATA=END\n")
	twoLines, onePair := writeFile(t, dir, "lines", lines.String()), writeFile(t, dir, "pairs", pairs.String())
	tests := map[string]struct{ load, dump []string }{
		"hash":  {[]string{"db_load", "-T", "-t", "hash", "-f", twoLines, dir + "/map.db"}, []string{"db_dump", "-p", dir + "/map.db"}},
		"btree": {[]string{"db_load", "-T", "-t", "btree", "-f", twoLines, dir + "/map.db"}, []string{"db_dump", "-p", dir + "/map.db"}},
		"lmdb":  {[]string{"mdb_load", "-n", "-f", withHead, dir + "/map.lmdb"}, []string{"mdb_dump", "-n", "-p", dir + "/map.lmdb"}},
		"cdb":   {[]string{"cdb", "-c", "-m", dir + "/map.cdb", onePair}, []string{"cdb", "-d", "-m", dir + "/map.cdb"}},
	}
	for typ, test := range tests {
		file := IndexName(typ, dir+"/map")
		if out, err := exec.Command(test.load[0], test.load[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", test.load, err, out)
		}
		agree(t, dir, typ+":"+dir+"/map", keys)
		theirs := dumped(t, test.dump)
		f, err := EditFile(typ, dir+"/map")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(entries, WriteOptions{Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		verifyIndex(t, typ, file)
		if ours := dumped(t, test.dump); ours != theirs || strings.Count(ours, "\n") < n {
			t.Errorf("%s: %v lists our file otherwise: %d and %d bytes", typ, test.dump, len(ours), len(theirs))
		}
		os.Remove(file)
	}
}

// TestOracleEmpty reads tables without entries, and has Postfix read ours.
func TestOracleEmpty(t *testing.T) {
	dir := oracleDir(t)
	for typ := range formats() {
		path := writeFile(t, dir, typ+"-empty", "")
		postfix(t, dir, "", "postmap", typ+":"+path)
		tab, err := Open(typ+":"+path, Options{})
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if got := answer(tab, "key"); got != "-" || listing(t, typ+":"+path) != "" {
			t.Errorf("%s: %q", typ, got)
		}
		writeOurs(t, typ, path)
		verifyIndex(t, typ, IndexName(typ, path))
		if out, diag := postfix(t, dir, "", "postmap", "-q", "key", typ+":"+path); out+diag != "" {
			t.Errorf("%s: %s%s", typ, out, diag)
		}
		if typ == "cdb" {
			continue
		}
		if _, diag := postfix(t, dir, "key value\n", "postmap", "-i", typ+":"+path); diag != "" {
			t.Errorf("%s: %s", typ, diag)
		}
		if got := answer(tab, "key"); got != "value" {
			t.Errorf("%s: %q after postmap -i", typ, got)
		}
	}
}

// dumped is what a tool lists, sorted, without the head that tells how the file
// is laid out.
func dumped(t *testing.T, command []string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "=") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
