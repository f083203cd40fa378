//go:build oracle

package tables

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// liveTable is a table of TestLive. Each version of it has "keep" as its last entry,
// one that only this version has, and never "nobody".
type liveTable struct {
	// kind is the type, path the text, suffix what the file that is read has behind.
	kind, path, suffix string
	// line is an entry for a user, fill how many others there are.
	line string
	fill int

	mu      sync.Mutex
	answers map[string]*tally
}

// liveTables has a row for each type of file.
func liveTables(dir string) []*liveTable {
	rows := []*liveTable{
		{kind: "texthash", line: "%s@texthash.test x", fill: 2000},
		{kind: "hash", suffix: ".db", line: "%s@hash.test x", fill: 2000},
		{kind: "btree", suffix: ".db", line: "%s@btree.test x", fill: 2000},
		{kind: "lmdb", suffix: ".lmdb", line: "%s@lmdb.test x", fill: 2000},
		{kind: "cdb", suffix: ".cdb", line: "%s@cdb.test x", fill: 2000},
		{kind: "regexp", line: "/^%s@regexp\\.test$/ x", fill: 100},
		{kind: "pcre", line: "/^%s@pcre\\.test$/ x", fill: 100},
		{kind: "cidr", line: "%s OK", fill: 2000},
	}
	for _, row := range rows {
		row.path = filepath.Join(dir, row.kind)
		row.answers = map[string]*tally{"keep": {}, "nobody": {}}
	}
	return rows
}

// user is how a table names a user: those of cidr are clients.
func (l *liveTable) user(name string) string {
	if l.kind != "cidr" {
		return name
	}
	n := 0
	switch name {
	case "keep":
		return "127.1.0.1"
	case "nobody":
		return "127.1.0.2"
	}
	_, _ = fmt.Sscanf(name, "v%d", &n)
	return fmt.Sprintf("127.2.0.%d", n)
}

// ask asks for a user.
func (l *liveTable) ask(s *site, name string) int {
	if l.kind == "cidr" {
		return s.askFrom(l.user(name), "any@other.test")
	}
	return s.ask(name + "@" + l.kind + ".test")
}

// text is a version.
func (l *liveTable) text(version int) string {
	var b strings.Builder
	add := func(user string) { fmt.Fprintf(&b, l.line+"\n", user) }
	for n := range l.fill {
		if l.kind == "cidr" {
			add(fmt.Sprintf("10.%d.%d.0/24", n>>8, n&255))
		} else {
			add(fmt.Sprintf("fill%d", n))
		}
	}
	add(l.user(fmt.Sprint("v", version)))
	add(l.user("keep"))
	return b.String()
}

// indexed tells whether postmap makes the file.
func (l *liveTable) indexed() bool { return l.suffix != "" }

// count adds an answer.
func (l *liveTable) count(name string, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[name].add(code)
}

// rightSince forgets the answers until now, and tells of wrong ones among them.
// later tells that mail may have been put off.
func (l *liveTable) rightSince(t *testing.T, what string, later bool) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	keep, nobody := l.answers["keep"], l.answers["nobody"]
	l.answers = map[string]*tally{"keep": {}, "nobody": {}}
	delayed := keep.later.Load() + nobody.later.Load()
	if keep.never.Load() > 0 || nobody.good.Load() > 0 || keep.broken.Load()+nobody.broken.Load() > 0 || delayed > 0 && !later {
		t.Errorf("%s, %s: a known user was refused %d times, an unknown one accepted %d times, mail put off %d times, %d sessions broken",
			l.kind, what, keep.never.Load(), nobody.good.Load(), delayed, keep.broken.Load()+nobody.broken.Load())
	}
	t.Logf("%s, %s: %d accepted, %d refused, %d put off", l.kind, what, keep.good.Load(), nobody.never.Load(), delayed)
}

// run runs a command that must succeed.
func run(t *testing.T, stdin string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// inPlace writes over the file; an indexed one is made anew by Postfix.
func (l *liveTable) inPlace(t *testing.T, version int) {
	must(t, os.WriteFile(l.path, []byte(l.text(version)), 0o644))
	if l.indexed() {
		run(t, "", "/usr/sbin/postmap", "-c", filepath.Join(filepath.Dir(l.path), "theirs"), l.kind+":"+l.path)
	}
}

// renamed puts another file in its place; an indexed one is made by our postmap.
func (l *liveTable) renamed(t *testing.T, version int) {
	fresh := l.path + "-new"
	must(t, os.WriteFile(fresh, []byte(l.text(version)), 0o644))
	if l.indexed() {
		run(t, "", filepath.Join(*binDir, "postmap"), "-c", filepath.Join(filepath.Dir(l.path), "theirs"), l.kind+":"+fresh)
	}
	must(t, os.Rename(fresh+l.suffix, l.path+l.suffix))
}

// pieces writes a text slowly, in pieces that end within lines. In an indexed file
// one entry is changed.
func (l *liveTable) pieces(t *testing.T, version int) {
	if l.kind == "cdb" {
		l.renamed(t, version)
		return
	}
	if l.indexed() {
		theirs := filepath.Join(filepath.Dir(l.path), "theirs")
		domain := "@" + l.kind + ".test"
		run(t, fmt.Sprintf("v%d%s x\n", version, domain), "/usr/sbin/postmap", "-c", theirs, "-i", l.kind+":"+l.path)
		run(t, "", "/usr/sbin/postmap", "-c", theirs, "-d", fmt.Sprintf("v%d%s", version-1, domain), l.kind+":"+l.path)
		return
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	rest := l.text(version)
	for range 2 {
		cut := strings.IndexByte(rest[len(rest)/2:], '\n') + len(rest)/2 + 5
		_, err := f.WriteString(rest[:cut])
		must(t, err)
		testkit.Pause(t.Context(), 1500*time.Millisecond)
		rest = rest[cut:]
	}
	_, err = f.WriteString(rest)
	must(t, err)
	must(t, f.Close())
}

// truncated cuts the file in its middle, and after a while replaces it.
func (l *liveTable) truncated(t *testing.T, version int) {
	path := l.path + l.suffix
	half := int64(strings.IndexByte(l.text(version)[1000:], '\n') + 1000 + 5)
	if info, err := os.Stat(path); err != nil {
		t.Fatal(err)
	} else if l.indexed() {
		half = info.Size() / 2
	}
	must(t, os.Truncate(path, half))
	testkit.Pause(t.Context(), 2500*time.Millisecond)
	l.renamed(t, version)
}

// TestLive changes the files of tables in every way while mail flows: each message
// is answered by what was there or by what is there now, without a reload.
func TestLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := s.Dir
	tables := liveTables(dir)
	theirs := filepath.Join(dir, "theirs")
	must(t, os.Mkdir(theirs, 0o755))
	must(t, os.WriteFile(filepath.Join(theirs, "main.cf"), []byte("compatibility_level = 3.6\nmyhostname = mx.example.test\n"), 0o644))
	domains, clients := "inline:{ {other.test=x}, {example.test=x}", ""
	mailboxes := "inline:{ {known@example.test=x}, {any@other.test=x} }"
	for _, l := range tables {
		l.inPlace(t, 0)
		if l.kind == "cidr" {
			clients = "cidr:" + l.path
			continue
		}
		domains += ", {" + l.kind + ".test=x}"
		mailboxes += ", " + l.kind + ":" + l.path
	}
	s.start(t, specs{"domains": domains + " }", "mailboxes": mailboxes},
		"smtpd_client_restrictions = check_client_access inline:{ {127.0.0.1=OK} }, check_client_access "+clients+", reject")
	done := make(chan struct{})
	var senders sync.WaitGroup
	for _, l := range tables {
		for _, name := range []string{"keep", "nobody"} {
			// goroutine: ends when done is closed.
			senders.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						l.count(name, l.ask(s, name))
					}
				}
			})
		}
	}
	for n, step := range []struct {
		name string
		do   func(*liveTable, *testing.T, int)
		// later tells that mail may be put off meanwhile.
		later bool
	}{
		{"replaced by rename", (*liveTable).renamed, false},
		{"written in place", (*liveTable).inPlace, false},
		{"written in pieces", (*liveTable).pieces, false},
		{"cut in the middle", (*liveTable).truncated, true},
	} {
		var changes sync.WaitGroup
		for _, l := range tables {
			// goroutine: ends when the change has been seen.
			changes.Go(func() {
				step.do(l, t, n+1)
				eventually(t, l.kind+" "+step.name+" is in use", func() bool {
					return l.ask(s, fmt.Sprint("v", n+1)) == 250 && l.ask(s, fmt.Sprint("v", n))/100 == 5
				})
			})
		}
		changes.Wait()
		for _, l := range tables {
			l.rightSince(t, step.name, step.later)
		}
	}
	close(done)
	senders.Wait()
}
