//go:build oracle

package cli

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The larger form: -args -stages 400 -mapsbin DIR -maptypes hash,btree.
var (
	mapStages  = flag.Uint64("stages", 40, "generated sequences of postmap and postalias")
	mapFirst   = flag.Uint64("firststage", 0, "number of the first sequence")
	mapSbin    = flag.String("mapsbin", "/usr/sbin", "directory of the postmap to compare with")
	mapSbinHas = flag.String("maptypes", "hash,btree,lmdb,cdb", "the types that it can write")
)

// mapRand makes sequences of command lines.
type mapRand struct {
	*rand.Rand
	types []string
}

// pick returns one of several.
func (r *mapRand) pick(from ...string) string { return from[r.IntN(len(from))] }

// key returns a key; few, so that they meet again.
func (r *mapRand) key() string {
	return r.pick("a", "b", "C", "user@example.com", "User@Example.com", "x.y", "@dom", "k1", "k2", "k3", "none", "\u00fc@x", "\"q r\"", "d:e", "#no", "1")
}

// value returns a value.
func (r *mapRand) value() string {
	return r.pick("1", "two words", "x,  y", "OK", "REJECT no  thanks", "v:w", "\u00fc", "\"q\"", "a@b, c@d", "|cmd", "${x}", "#h", "550 5.7.1 no")
}

// text returns the text of a source.
func (r *mapRand) text(alias bool) string {
	var b strings.Builder
	for range r.IntN(14) {
		switch r.IntN(12) {
		case 0:
			b.WriteString(r.pick("# remark\n", "\n", "  \n", "  # in\n"))
		case 1:
			b.WriteString(r.pick("alone\n", "  stray\n", "k:\n", ": v\n", "bad\xff v\n", "\tx y\n"))
		case 2:
			fmt.Fprintf(&b, "%s%s%s\n  %s\n", r.key(), r.separator(alias), r.value(), r.value())
		case 3:
			fmt.Fprintf(&b, "%s%s%s\r\n", r.key(), r.separator(alias), r.value())
		default:
			fmt.Fprintf(&b, "%s%s%s\n", r.key(), r.separator(alias), r.value())
		}
	}
	return b.String()
}

// separator stands between a key and its value.
func (r *mapRand) separator(alias bool) string {
	if alias {
		return r.pick(": ", ":", " : ", ":\t")
	}
	return r.pick(" ", "\t", "   ")
}

// steps makes a sequence. All indexes are built first: where one is missing we read
// the source. hash and btree share a file, so a sequence has one of them.
func (r *mapRand) steps(n int) []string {
	var out []string
	for _, kind := range strings.Split(*mapSbinHas, ",") {
		if kind == "hash" && r.IntN(2) == 0 || kind == "btree" && len(r.types) > 0 {
			continue
		}
		r.types = append(r.types, kind)
		out = append(out, "postmap "+kind+":DIR/m", "postalias "+kind+":DIR/al")
	}
	for range n {
		out = append(out, r.step())
	}
	return out
}

// step returns one command line, in the form of mapSteps. Keys stored with -n and
// with -N are the same to us and not to Postfix, so a sequence has one kind.
func (r *mapRand) step() string {
	program := r.pick("postmap", "postmap", "postalias")
	alias := program == "postalias"
	file := "DIR/m"
	if alias {
		file = "DIR/al"
	}
	kind := r.pick(r.types...)
	spec := kind + ":" + file
	flags := ""
	for range r.IntN(3) {
		flags += " -" + r.pick("f", "o", "p", "u", "r", "w")
	}
	lines := func() string {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString(r.word() + "\n")
		}
		return b.String()
	}
	choice := r.IntN(12)
	if kind == "cdb" && choice > 5 && choice < 11 {
		choice = 3 // Postfix cannot change and list these
	}
	switch choice {
	case 0, 1, 2:
		return program + flags + " " + spec
	case 3, 4:
		return program + flags + " -q " + r.word() + " " + spec
	case 5:
		return program + flags + " -q - " + spec + " < " + lines()
	case 6:
		return program + flags + " -s " + spec
	case 7:
		return program + flags + " -d " + r.word() + " " + spec
	case 8:
		return program + flags + " -d - " + spec + " < " + lines()
	case 9:
		return program + flags + " -i " + spec + " < " + r.text(alias)
	case 11:
		return r.pick("newaliases", "newaliases -oA"+kind+":DIR/al", "sendmail -bi -oA"+kind+":DIR/al", "newaliases -oA"+kind+":DIR/none", "newaliases -I")
	}
	return r.pick("postmap -q", program+" "+spec+" "+spec, "postmap -F "+spec, "postmap -q a nosuch:x", "postmap -h "+spec, "postalias -s -d a "+spec)
}

// word is a key for a command line.
func (r *mapRand) word() string {
	for {
		if key := r.key(); !strings.ContainsAny(key, " _") {
			return key
		}
	}
}

// mapTime finds the time in an alias database.
var mapTime = regexp.MustCompile("(YP_LAST_MODIFIED:?\t)[0-9]+")

// stage makes a directory with sources.
func (r *mapRand) stage(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// hash and btree share a file, and which of them a sequence has is not known yet.
	database := ""
	for _, kind := range strings.Split(*mapSbinHas, ",") {
		if kind != "hash" && kind != "btree" {
			database = kind + ":" + dir + "/al"
		}
	}
	for _, file := range []struct {
		name, text string
	}{
		{"main.cf", fmt.Sprintf("compatibility_level = 3.6\nmyhostname = mx.example.test\ncommand_directory = %s\nalias_database = %s\n", *mapSbin, database)},
		{"m", r.text(false)}, {"al", r.text(true)},
	} {
		if err := os.WriteFile(filepath.Join(dir, file.name), []byte(file.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// theirStep runs a step with the commands of Postfix.
func theirStep(t *testing.T, dir, step string) string {
	t.Helper()
	words, stdin := mapWords(dir, step)
	// newaliases is sendmail by another name, and stands elsewhere.
	program := strings.Replace(words[0], "newaliases", "sendmail", 1)
	cmd := exec.Command(filepath.Join(*mapSbin, program), words[1:]...)
	cmd.Args[0] = words[0]
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = []string{"MAIL_CONFIG=" + dir, "PATH=/usr/sbin:/usr/bin:/bin"}
	out, said, code := runTheir(t, cmd)
	if *mapSbin == "/usr/sbin" {
		said = since311.Replace(said)
	}
	return mapResult(dir, step, out, said, code)
}

// TestPostmapSweep runs generated sequences of postmap, postalias and newaliases with
// both.
func TestPostmapSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	var mu sync.Mutex
	same, wrong := 0, 0
	spread(16, *mapFirst, *mapStages, func(_ int, n uint64) {
		ours, theirs := filepath.Join(base, fmt.Sprintf("a%d", n)), filepath.Join(base, fmt.Sprintf("b%d", n))
		for _, dir := range []string{ours, theirs} {
			r := &mapRand{Rand: rand.New(rand.NewPCG(n, 7))}
			r.stage(t, dir)
		}
		r := &mapRand{Rand: rand.New(rand.NewPCG(n, 8))}
		for _, step := range r.steps(10) {
			want := mapTime.ReplaceAllString(theirStep(t, theirs, step), "$1")
			got := mapTime.ReplaceAllString(runMapStep(ours, step), "$1")
			mu.Lock()
			if got == want {
				same++
			} else if wrong++; wrong <= 30 {
				t.Errorf("sequence %d: Postfix says\n%swe say\n%s", n, want, got)
			}
			mu.Unlock()
		}
	})
	t.Logf("%d of %d steps agree", same, same+wrong)
	if same == 0 {
		t.Error("nothing was compared")
	}
}
