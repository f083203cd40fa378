package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// mapFiles are what the steps work on.
var mapFiles = map[string]string{
	"main.cf": "compatibility_level = 3.6\nmyhostname = mx.example.test\n",
	"m":       "a 1\nb  2 and more\nC 3\na again\n\n# comment\nbad\nx: y\n",
	"n":       "d 4\na 9\n",
	"al":      "root: joe,  ann\nBig: x, y\nnothing here\n\"Two Words\": |/bin/x a\nbig: twice\n",
	"files":   "k DIR/f1, DIR/f2\nl DIR/none\n",
	"f1":      "hi\n",
	"f2":      "ho\n",
	"re":      "/(.*)/ <$1>\n",
	"nets":    "192.0.2.0/24 lab\n",
}

// mapSteps are command lines, each with its standard input behind " < ". They
// follow each other: what one builds the next ones ask.
var mapSteps = []string{
	"postmap DIR/m hash:DIR/n",
	"postmap -q a DIR/m DIR/n", "postmap -q d DIR/m DIR/n", "postmap -q A DIR/m", "postmap -q zz DIR/m DIR/n", "postmap -f -q A DIR/m",
	"postmap -s DIR/m DIR/n", "postmap -q - DIR/m DIR/n < a\nB\n\nnone\nd\n", "postmap -q - DIR/m < none\n",
	"postmap -i DIR/m < new v\nb 7\nC 8\n", "postmap -i -r DIR/m < b 9\n", "postmap -iw DIR/m < b 10\n", "postmap -s DIR/m",
	"postmap -f -i DIR/m < KEEP case\n", "postmap -s DIR/m", "postmap -q keep DIR/m", "postmap -fq KEEP DIR/m",
	"postmap -d A DIR/m", "postmap -d a DIR/m", "postmap -d a DIR/m DIR/n", "postmap -d - DIR/m DIR/n < b\nzz\nd\n", "postmap -d - DIR/m < zz\n", "postmap -s DIR/m DIR/n",
	"postmap -p -o DIR/m", "postmap -n DIR/m", "postmap -q a DIR/m", "postmap -N btree:DIR/n", "postmap -s btree:DIR/n",
	"postmap -i hash:DIR/fresh < one 1\n", "postmap -q one DIR/fresh",
	"postalias DIR/al", "postalias -q ROOT DIR/al", "postalias -q Two_Words DIR/al", "postalias -q - DIR/al < root\nbig\nnone\n",
	"postalias -d big DIR/al", "postalias -i DIR/al < more: 1\nroot: 2\n", "postalias -q big DIR/al", "postalias -q more DIR/al", "postmap -q YP_MASTER_NAME DIR/al",
	"postmap -F DIR/files", "postmap -q k DIR/files", "postmap -F -q k DIR/files", "postmap -F -s DIR/files", "postmap -q l DIR/files",
	"postmap -h -q - regexp:DIR/re < Subject: a\n  b\nX: y\n\nbody\n\nbody\n", "postmap -b -q - regexp:DIR/re < Subject: a\n  b\nX: y\n\nbody\n\nbody\n",
	"postmap -bh -q - regexp:DIR/re < Subject: a\n\nbody\n", "postmap -q - regexp:DIR/re < Subject: a\n  b\n\nbody\n",
	"postmap -hm -q - regexp:DIR/re < " + multipart, "postmap -bm -q - regexp:DIR/re < " + multipart, "postmap -bhm -q - regexp:DIR/re < " + multipart, "postmap -bh -q - regexp:DIR/re < " + multipart,
	"postmap -q 192.0.2.7 cidr:DIR/nets", "postmap -q 192.0.2.7 cidr:DIR/nets static:x", "postmap -q x static:{a_b}", "postmap -q x static:{}",
	"postmap -u -q a DIR/fresh", "postmap -U -q one DIR/fresh", "postmap -s texthash:DIR/n", "postmap -q user unionmap:{static:a,static:b}",
	"postmap", "postmap -q", "postmap -Z", "postmap -q a", "postmap -q a -q b DIR/m", "postmap -q a -d b DIR/m", "postmap -s -q a DIR/m", "postmap -b -q a DIR/m", "postmap -h DIR/m",
	"postmap -s", "postalias", "postalias -b DIR/al",
	"postmap DIR/none", "postmap -q a DIR/none", "postmap -q a hash:DIR/none", "postmap -q a texthash:DIR/none", "postmap -q a cidr:DIR/none", "postmap -q a regexp:DIR/none",
	"postmap -q a nosuch:DIR/m", "postmap -q a static:", "postmap -q x fail:y", "postmap -s cidr:DIR/nets", "postmap fail:DIR/n", "postmap -c DIR/none -q a static:b",
	"postmap -d a DIR/none", "postmap -q x inline:{a=b}", "postmap -q x inline:{a}",
	"postmap lmdb:DIR/m", "postmap lmdb:DIR/n", "postmap -q a lmdb:DIR/m", "postmap -q A lmdb:DIR/m", "postmap -q zz lmdb:DIR/m lmdb:DIR/n", "postmap -s lmdb:DIR/m",
	"postmap -i lmdb:DIR/m < new v\nb 7\nC 8\n", "postmap -i -r lmdb:DIR/m < b 9\n", "postmap -iw lmdb:DIR/m < b 10\n", "postmap -s lmdb:DIR/m", "postmap -d A lmdb:DIR/m", "postmap -d a lmdb:DIR/m",
	"postmap -d - lmdb:DIR/m < b\nzz\n", "postmap -s lmdb:DIR/m", "postmap -n lmdb:DIR/m", "postmap -q a lmdb:DIR/m", "postmap -p -o lmdb:DIR/m", "postmap -F lmdb:DIR/files", "postmap -F -q k lmdb:DIR/files",
	"postmap -q a lmdb:DIR/none", "postmap lmdb:DIR/long", "postalias lmdb:DIR/al", "postalias -q ROOT lmdb:DIR/al", "postmap -i lmdb:DIR/fresh2 < one 1\n",
	"postmap cdb:DIR/m", "postmap cdb:DIR/n", "postmap -q a cdb:DIR/m", "postmap -q A cdb:DIR/m", "postmap -q zz cdb:DIR/m cdb:DIR/n", "postmap -n cdb:DIR/m", "postmap -q a cdb:DIR/m", "postmap -p -o cdb:DIR/m",
	"postmap -r cdb:DIR/m", "postmap -w cdb:DIR/m", "postmap -s cdb:DIR/none", "postmap -q a cdb:DIR/none", "postalias cdb:DIR/al", "postalias -q ROOT cdb:DIR/al", "postmap -q a dbm:DIR/none", "postmap -q a sdbm:DIR/none",
}

// multipart is a message with parts in parts.
const multipart = "Content-Type: multipart/mixed; boundary=\"x x\"\nA: 1\n\npreamble\n--x x\nContent-Type: multipart/alternative;\n\tboundary=yy\n\n--yy\nB: 2\n\ntext\n--yy--\nC: no\n--x x\nContent-Type: message/rfc822\n\nD: 4\n\nE: no\n--x x--\nF: no\n"

// mapStage is a directory with mapFiles.
func mapStage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range mapFiles {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "m"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mapResult is what a step said, comparable between programs: listings are
// sorted, because the order of a database is its own.
func mapResult(dir, step string, stdout, stderr string, code int) string {
	lines := strings.SplitAfter(stdout, "\n")
	if strings.Contains(step, " -s ") {
		slices.Sort(lines)
	}
	said := strings.Join(lines, "")
	for line := range strings.Lines(stderr) {
		said += "! " + line
	}
	said = strings.ReplaceAll(said, dir, "DIR")
	return fmt.Sprintf("$ %q\n%s[%d]%s\n\n", step, said, code, indexModes(dir))
}

// indexModes tells which files have been made, and their modes.
func indexModes(dir string) string {
	out := ""
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		info, err := os.Stat(file)
		if _, given := mapFiles[filepath.Base(file)]; err == nil && !given {
			out += fmt.Sprintf(" %s=%o", filepath.Base(file), info.Mode().Perm())
		}
	}
	return out
}

// mapWords splits a step into words; "_" stands for a space.
func mapWords(dir, step string) (words []string, stdin string) {
	line, stdin, _ := strings.Cut(step, " < ")
	words = strings.Fields(strings.ReplaceAll(line, "DIR", dir))
	for i := range words {
		if words[i] != "YP_MASTER_NAME" && !strings.Contains(words[i], "/") {
			words[i] = strings.ReplaceAll(words[i], "_", " ")
		}
	}
	return words, stdin
}

// runMapStep runs a step with our commands.
func runMapStep(dir, step string) string {
	words, stdin := mapWords(dir, step)
	var stdout, stderr bytes.Buffer
	e := &Env{
		Prog: words[0], Args: words[1:], Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
		Environ: []string{"MAIL_CONFIG=" + dir}, UID: os.Getuid(), EUID: os.Geteuid(), Now: time.Now,
	}
	code := Run(e)
	return mapResult(dir, step, stdout.String(), stderr.String(), code)
}

// mapText is what all steps say.
func mapText(t *testing.T) string {
	dir := mapStage(t)
	var out strings.Builder
	for _, step := range mapSteps {
		out.WriteString(runMapStep(dir, step))
	}
	return out.String()
}

func TestPostmap(t *testing.T) {
	t.Parallel()
	testkit.Golden(t, "testdata/postmap.golden", mapText(t), *update)
}

// TestPostmapJSON checks the option that Postfix has since 3.11.
func TestPostmapJSON(t *testing.T) {
	t.Parallel()
	dir := mapStage(t)
	for step, want := range map[string]string{
		"postmap -j -q k inline:{k=a\"<&>}":       `{"k": "a\"<&>"}` + "\n",
		"postmap -jq - inline:{k=v,l=w} < k\nl\n": `{"k": "v"}` + "\n" + `{"l": "w"}` + "\n",
		"postmap -js texthash:DIR/n":              `{"d": "4"}` + "\n" + `{"a": "9"}` + "\n",
	} {
		if got := runMapStep(dir, step); !strings.Contains(got, "\n"+want+"[0]") {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestPostmapOwner checks that root's postmap leaves a table to the owner of
// its source.
func TestPostmapOwner(t *testing.T) {
	t.Parallel()
	m := &mapTool{Env: &Env{EUID: 0}}
	info, err := os.Stat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{false, true} {
		m.keepOwner = keep
		if o := m.mode(noFile{}, info); o.ChangeOwner == keep || !keep && o.UID != os.Getuid() {
			t.Errorf("with -o %v: %+v", keep, o)
		}
	}
	m.EUID = 1
	if o := m.mode(noFile{}, info); o.ChangeOwner {
		t.Errorf("an ordinary user: %+v", o)
	}
}

// noFile is a table that does not exist yet.
type noFile struct{}

func (noFile) Inherited() (os.FileInfo, bool) { return nil, false }
