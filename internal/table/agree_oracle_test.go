//go:build oracle

package table

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The tests in this file compare every lookup with the postmap(1) of an
// installed Postfix, which they demand: they fail where there is none.

// oracleDir is a directory with an empty configuration.
func oracleDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "main.cf", "compatibility_level = 3.6\nmyhostname = host.example.test\nmydomain = example.test\n")
	return dir
}

// writeFile makes a file and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Postfix waits until a file of settings is a second old.
	past := time.Now().Add(-10 * time.Second)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	return path
}

// postfix runs a command of Postfix.
func postfix(t *testing.T, dir, stdin string, command ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(command[0], append([]string{"-c", dir}, command[1:]...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		if _, exited := err.(*exec.ExitError); !exited {
			t.Fatal(err)
		}
	}
	return out.String(), diag.String()
}

// agree looks up all keys in our table and in Postfix's.
func agree(t *testing.T, dir, spec string, keys []string) {
	t.Helper()
	out, diag := postfix(t, dir, strings.Join(keys, "\n")+"\n", "postmap", "-q", "-", spec)
	if strings.Contains(diag, "fatal:") {
		t.Fatalf("%s: %s", spec, diag)
	}
	theirs := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		theirs[key] = value
	}
	ours, err := Open(spec, Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	hits, wrong := 0, 0
	for _, key := range keys {
		want, found := theirs[key]
		got, ok, err := ours.Lookup(context.Background(), key)
		if err != nil {
			t.Errorf("%s: %q: %v", spec, key, err)
			continue
		}
		if found {
			hits++
		}
		if ok != found || got != want {
			if wrong++; wrong <= 20 {
				t.Errorf("%s: %q gives %q (%v), Postfix says %q (%v)", clip(spec, 60), key, got, ok, want, found)
			}
		}
	}
	if hits == 0 || hits == len(keys) {
		t.Errorf("%s: %d of %d keys found: the test says nothing", spec, hits, len(keys))
	}
	t.Logf("%s: %d keys, %d found, %d differ", clip(spec, 60), len(keys), hits, wrong)
}

// pick returns one of the choices.
func pick(r *rand.Rand, choices ...string) string { return choices[r.IntN(len(choices))] }

// randomText returns up to n random letters of an alphabet.
func randomText(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, r.IntN(n+1))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func TestOracleFixed(t *testing.T) {
	dir := oracleDir(t)
	r := rand.New(rand.NewPCG(1, 2))
	var source strings.Builder
	var keys []string
	for i := range 4000 {
		key := pick(r, "user%d@example.com", "USER%d@Example.COM", "\"a b%d\"@x.test", "ué%d", "%d.0.0.192", "\"q\\\"%d\"", "x%d", "É%d")
		key = fmt.Sprintf(key, i)
		value := pick(r, "v%d", "v %d  and more", "%d, \"quoted\"", "Ünï%d", strings.Repeat("long ", r.IntN(2000))+"%d")
		fmt.Fprintf(&source, "%s%s%s\n", key, pick(r, " ", "\t", "   ", " \n  "), fmt.Sprintf(value, i))
		if i%7 == 0 {
			fmt.Fprintf(&source, "# comment %d\n\n   \n", i)
		}
		keys = append(keys, key, strings.ToUpper(key), key+"x", strings.Trim(key, "\""))
	}
	path := writeFile(t, dir, "fixed", source.String())
	agree(t, dir, "texthash:"+path, keys)
	for typ := range formats() {
		spec, file := typ+":"+path, IndexName(typ, path)
		postfix(t, dir, "", "postmap", spec)
		agree(t, dir, spec, keys)
		sameListing(t, dir, typ, path)
		// Postfix reads what we write.
		writeOurs(t, typ, path)
		verifyIndex(t, typ, file)
		agree(t, dir, spec, keys)
		sameListing(t, dir, typ, path)
		// And it can go on with it, where it can at all.
		if typ != "cdb" {
			postfix(t, dir, "added@example.com one more\n", "postmap", "-i", spec)
			postfix(t, dir, "", "postmap", "-d", "x6", spec)
			verifyIndex(t, typ, file)
			agree(t, dir, spec, append(keys, "added@example.com"))
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// sameListing compares our listing with postmap -s, which cdb: does not have.
func sameListing(t *testing.T, dir, typ, path string) {
	t.Helper()
	if typ == "cdb" {
		return
	}
	list, _ := postfix(t, dir, "", "postmap", "-s", typ+":"+path)
	if ours := listing(t, typ+":"+path); ours != list {
		t.Errorf("%s: our listing differs from postmap -s", typ)
	}
}

// listing is our postmap -s.
func listing(t *testing.T, spec string) string {
	t.Helper()
	tab, err := Open(spec, Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tab.(Lister).Each(func(e Entry) bool {
		fmt.Fprintf(&b, "%s\t%s\n", e.Key, e.Value)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// writeOurs replaces a .db by one of ours with the same entries.
func writeOurs(t *testing.T, typ, path string) {
	t.Helper()
	f, err := EditFile(typ, path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := f.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(entries, WriteOptions{Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
}

// verifyIndex has the tools of a library read a file that we made.
func verifyIndex(t *testing.T, typ, path string) {
	t.Helper()
	command := map[string][]string{
		"hash": {"db_verify"}, "btree": {"db_verify"}, "lmdb": {"mdb_dump", "-n"}, "cdb": {"cdb", "-s"},
	}[typ]
	command = append(command, path)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", command, err, out)
	}
}

// TestOracleSmall reads files in which most buckets are empty.
func TestOracleSmall(t *testing.T) {
	dir := oracleDir(t)
	for n := 1; n <= 40; n++ {
		text, keys := "", []string{"none"}
		for i := range n {
			text += fmt.Sprintf("k%d.example  v%d\n", i*i, i)
			keys = append(keys, fmt.Sprintf("k%d.example", i*i))
		}
		path := writeFile(t, dir, fmt.Sprintf("small%d", n), text)
		for _, typ := range []string{"hash", "btree"} {
			postfix(t, dir, "", "postmap", typ+":"+path)
			agree(t, dir, typ+":"+path, keys)
			list, _ := postfix(t, dir, "", "postmap", "-s", typ+":"+path)
			if ours := listing(t, typ+":"+path); ours != list {
				t.Errorf("%s with %d entries: our listing differs from postmap -s", typ, n)
			}
		}
	}
}

func TestOracleInline(t *testing.T) {
	dir := oracleDir(t)
	keys := []string{"a", "A", "c", "g", "H", "i", "f", "a b"}
	agree(t, dir, "inline:{ a=b, {C = d e, f}, G=1, {h=  x  }, {a = second}}", keys)
}

// TestOracleCompound asks the types that are made of other tables, and those
// without a file.
func TestOracleCompound(t *testing.T) {
	dir := oracleDir(t)
	r := rand.New(rand.NewPCG(9, 10))
	var a, b strings.Builder
	var keys []string
	for i := range 1500 {
		key := fmt.Sprintf("%s%d@example.com", pick(r, "u", "U", "\"q r\"", "ü"), i)
		if i%2 == 0 {
			fmt.Fprintf(&a, "%s %s\n", key, pick(r, "x1", "X2", "not there", "x 3"))
		}
		if i%3 == 0 {
			fmt.Fprintf(&b, "%s y%d, z\n", key, i)
		}
		keys = append(keys, key, strings.ToUpper(key))
	}
	b.WriteString("x1 found\nx2 two\n")
	one, two := "texthash:"+writeFile(t, dir, "a", a.String()), "texthash:"+writeFile(t, dir, "b", b.String())
	keys = append(keys, "1.2.3.4", "10.0.0.1", "abc")
	for _, spec := range []string{
		"unionmap:{" + one + "," + two + "}", "unionmap:{" + two + " " + one + "}", "pipemap:{" + one + "," + two + "}",
		"pipemap:{" + one + ",static:{a b}}", "unionmap:{cidr:{{10.0.0.0/8 ten}},pcre:{{/^1/ one}},regexp:{{/^(a)b/ <$1>}}}",
		"pipemap:{pcre:{{/^u1(.)@/ x$1}, {/^u/ abc}},inline:{x1=one, x2=two, abc=ABC}}",
	} {
		agree(t, dir, spec, keys)
	}
	agree(t, dir, "unix:passwd.byname", []string{"root", "daemon", "mail", "nosuch", "postfix"})
	agree(t, dir, "unix:group.byname", []string{"root", "daemon", "mail", "nosuch", "postdrop"})
}

func TestOracleCIDR(t *testing.T) {
	dir := oracleDir(t)
	for _, plain := range []bool{true, false} {
		r := rand.New(rand.NewPCG(3, 4))
		var source strings.Builder
		depth := 0
		for i := range 300 {
			rule := randomNet(r)
			switch n := r.IntN(20); {
			case plain || n < 14:
				fmt.Fprintf(&source, "%s  result %d\n", rule, i)
			case n < 15:
				fmt.Fprintf(&source, "!%s  not %d\n", strings.Replace(rule, "/32", "/1", 1), i)
			case n < 17:
				fmt.Fprintf(&source, "if %s%s\n", pick(r, "", "!"), rule)
				depth++
			case depth > 0:
				source.WriteString("endif\n")
				depth--
			default:
				fmt.Fprintf(&source, "%s\n", pick(r, "garbage here", "10.0.0.1/24 x", "[::1 y", "1.2.3.4/33 z", "10.1.1.1"))
			}
		}
		source.WriteString(strings.Repeat("endif\n", depth))
		path := writeFile(t, dir, "cidr", source.String())
		keys := []string{"nonsense", "1.2.3", "::ffff:10.0.0.1", "::1", "fe80::1%lo", "010.0.0.1"}
		for range 3000 {
			keys = append(keys, strings.TrimRight(strings.Trim(strings.Split(randomNet(r), "/")[0], "[]"), "]"))
		}
		agree(t, dir, "cidr:"+path, keys)
	}
}

// randomNet returns an address or a network.
func randomNet(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		addr := fmt.Sprintf("2001:db8:%x:%x::", r.IntN(4), r.IntN(4))
		return pick(r, "2001:db8::/32", fmt.Sprintf("%s/64", addr), "["+addr+"]", fmt.Sprintf("[2001:db8:%x::]/48", r.IntN(4)), addr)
	}
	a, b := r.IntN(4), r.IntN(4)
	return pick(r, fmt.Sprintf("10.%d.0.0/16", a), fmt.Sprintf("10.%d.%d.0/24", a, b), fmt.Sprintf("10.%d.%d.%d", a, b, r.IntN(4)),
		fmt.Sprintf("10.%d.%d.%d/32", a, b, r.IntN(4)), fmt.Sprintf("192.168.%d.0/22", 4*b), "10.0.0.0/8")
}

// patternDepth is how deep random patterns nest.
const patternDepth = 3

// randomPattern returns an expression in the common part of ERE and Perl.
func randomPattern(r *rand.Rand, depth int) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		switch n := r.IntN(12); {
		case n < 4 || depth == 0:
			b.WriteString(pick(r, "a", "b", "c", "A", "-", "\\.", "."))
		case n < 6:
			b.WriteString(pick(r, "[ab]", "[^a]", "[a-b]", "[[:alpha:]]", "[]a]", "[^]b]", "[a-]", "[[:digit:]c]"))
		case n < 8:
			b.WriteString("(" + randomPattern(r, depth-1) + ")")
		case n < 10:
			b.WriteString("(" + randomPattern(r, depth-1) + "|" + randomPattern(r, depth-1) + ")")
		case n < 11 && depth == patternDepth:
			// glibc forgets anchors inside groups that repeat.
			b.WriteString(pick(r, "^", "$", "\\b", "\\B"))
			continue
		default:
			b.WriteString(pick(r, "\\w", "\\W"))
		}
		b.WriteString(pick(r, "", "", "", "", "*", "+", "?", "{2}", "{1,2}", "{1,}", "{0,3}"))
	}
	return b.String()
}

func TestOraclePatterns(t *testing.T) {
	dir := oracleDir(t)
	for _, typ := range []string{"regexp", "pcre"} {
		r := rand.New(rand.NewPCG(5, 6))
		var source strings.Builder
		var keys []string
		alphabet := "aaabbbccAB.-_ ]1"
		if typ == "regexp" {
			alphabet += "\xe9" // pcre: may cut it in half, which postmap refuses
		}
		for i := range 600 {
			pattern := randomPattern(r, patternDepth)
			flags := pick(r, "", "", "", "i", "m")
			if typ == "pcre" {
				flags += pick(r, "", "s", "x", "A", "E", "U", "Xi")
			}
			if typ == "regexp" {
				pattern = pick(r, "", "", "\\<", "^.*\\<") + pattern + pick(r, "", "", "\\>")
			}
			negate, result := pick(r, "", "", "", "!"), pick(r, "", "", "", " $$x")
			if typ == "pcre" && negate == "" && strings.Contains(pattern, "(") {
				result = pick(r, "", " <$1>")
			}
			fmt.Fprintf(&source, "if /^%d:/\n%s/%s/%s  hit %d%s\nendif\n", i, negate, pattern, flags, i, result)
			for range 8 {
				keys = append(keys, fmt.Sprintf("%d:%s", i, randomText(r, alphabet, 8)))
			}
		}
		keys = valid(keys)
		agree(t, dir, typ+":"+writeFile(t, dir, typ, source.String()), keys)
	}
}

// substitutions are rules as administrators write them, one per line.
const substitutions = `/^(.*)@(.*)\.example\.com$/  $2+${1}@example.com
/^Received: from ([^ ]+) \(([^)]*)\)(.*)$/  REPLACE Received: from $1 [hidden]$(3)
/^(X-(Spam|Virus)-[A-Za-z]+): *(.*)$/  REPLACE ${1}: <$3> $$
/^Subject: (\[[^]]+\] )?(.*)$/  PREPEND X-Tag: $1|$2|
/([0-9]{1,3})\.([0-9]+)\.([0-9]+)\.([0-9]+)/i  $4.$3.$2.$1
/^(a|ab)(c|bcd)?(d*)x/  [$1]
/(foo|bar)+baz/  $1
!/^[a-z0-9é: ]*$/  other
`

func TestOracleSubstitution(t *testing.T) {
	dir := oracleDir(t)
	keys := []string{
		"joe@mail.example.com", "@x.example.com", "a@b@c.example.com", "JOE@MAIL.EXAMPLE.COM",
		"Received: from a.b.c (unknown [10.0.0.1]) by x", "Received: from a (b)", "received: from x ()y",
		"X-Spam-Status: Yes", "X-Virus-Scanned:", "X-Other: 1", "Subject: [list] hello", "Subject: é [x] y", "Subject: ",
		"host 192.0.2.17 said", "1.2.3", "é192.168.100.200é", "acx", "abcdx", "adddx", "ax", "foobarbaz", "foobarfoo", "plain",
	}
	for _, typ := range []string{"regexp", "pcre"} {
		agree(t, dir, typ+":"+writeFile(t, dir, typ, substitutions), keys)
	}
}

// valid drops keys that are not UTF-8: postmap refuses to look them up.
func valid(keys []string) []string {
	var out []string
	for _, key := range keys {
		out = append(out, strings.ToValidUTF8(key, "é"))
	}
	return out
}

// oddFiles have mistakes of every kind that we know.
var oddFiles = map[string]string{
	"cidr": `10.0.0.0/8 a
10.1.2.3/24 b
1.2.3.4
[2001:db8::]/32 v6
[::1]  one
[::1/128 broken
[::1]x y
[::1/128] fine
endif
if 192.168.0.0/16
if !192.168.2.0/24
192.168.0.0/16 not2
endif
endif foo
ENDIF
if
!
! 1.2.3.4 x
1.2.3.0/33 z
1.2.3.0/ z
1.2.3.0/x z
foo z
1.2.3 z
  cont
2001:db8::1/32 z
if 1.2.3.4 more
if 1.2.3.4
`,
	"pcre": `/a(b)?(c)/  x$1y$2z
/foo/i  nocase
/q$1/  bad $2
!/zz/  neg $1
if /^h/
/^hello (.*)$/ got ${1}$$ $(1)
endif
/abc
/x/Z foo
/x/
!/yy/
if !/^s/
/^noth/ yes
endif
endif
|pipe| piped
/tail/ $x
/tail/ $
/tail/ $0
/tail/ ${1
/tail/ ${}
/tail/ $(a)
/tail/ $1 $-
/dup/ ok$
/(((a/ x
if /x/ foo
endif bar
foo bar
ifx /y/ z
!
if
if !
/end\/slash/ slash
!/not/ me
! /not/ me
!!/not/ me
/ends/
  /with/ continuation
if /unclosed/
if /unclosed again/
`,
	"texthash": ` lead 1
foo bar
  baz

# c
   qux
"unb x y
a\ b c
"q\"r s"t v w
nope
k "quoted val"
UPPER: X
same  a
SAME b
"" emptyq
`,
}

func TestOracleWarnings(t *testing.T) {
	dir := oracleDir(t)
	for typ, text := range oddFiles {
		path := writeFile(t, dir, typ, text)
		compareWarnings(t, dir, typ+":"+path)
	}
	text := strings.NewReplacer("/(((a/ x", "/(((a/ x\n/a{/ x\n/a{1/ x\n/a{x}/ x\n/[a/ x\n/[[:foo:]]/ x\n/[b-a]/ x\n/*a/ x\n/a)/ x\n/\\2(a)/ x\n/[[.ab.]]/ x\n/()/ x\n/a||b/ x\n/a{2,1}/ x\n/a{99999}/ x\n/(*a)/ x\n/^*a/ x\n/a**/ x").Replace(oddFiles["pcre"])
	compareWarnings(t, dir, "regexp:"+writeFile(t, dir, "regexp", text))
}

// compareWarnings opens a table with both.
func compareWarnings(t *testing.T, dir, spec string) {
	t.Helper()
	seen := map[string]int{}
	_, diag := postfix(t, dir, "", "postmap", "-q", "nothing-of-this", spec)
	for line := range strings.Lines(diag) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "postmap: warning: "), "\n")
		if !strings.Contains(line, "empty string result") && !strings.Contains(line, "NO RESULT") {
			seen[line] |= 1
		}
	}
	_, err := Open(spec, Options{UTF8: true, Warn: func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if strings.Contains(line, "macro") { // we say where, Postfix does not
			_, line, _ = strings.Cut(line, ": ")
		}
		seen[line] |= 2
	}})
	if err != nil {
		t.Fatal(err)
	}
	for line, who := range seen {
		if who != 3 {
			t.Errorf("%s: only %s says %q", filepath.Base(spec), []string{1: "Postfix", 2: "Postroad"}[who], line)
		}
	}
}

// TestOracleRules checks the golden files of TestRules.
func TestOracleRules(t *testing.T) {
	dir := oracleDir(t)
	for _, typ := range []string{"cidr", "pcre", "regexp"} {
		text, err := os.ReadFile("testdata/rules/" + typ + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		rules, keys, _ := strings.Cut(string(text), "--\n")
		path := writeFile(t, dir, typ, rules)
		tab, err := Open(typ+":"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for key := range strings.SplitSeq(strings.TrimSuffix(keys, "\n"), "\n") {
			key = strings.NewReplacer(`\n`, "\n", `\xe9`, "\xe9").Replace(key)
			out, _ := postfix(t, dir, "", "postmap", "-u", "-q", key, typ+":"+path)
			want := strings.TrimSuffix(out, "\n")
			if want == "" {
				want = "-"
			}
			if got := answer(tab, key); got != want {
				t.Errorf("%s: %q gives %q, Postfix says %q", typ, key, got, want)
			}
		}
	}
}

// shell runs a command line that must succeed.
func shell(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}
