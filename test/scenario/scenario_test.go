package scenario

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

const sample = `A sentence.

-- main.cf --
mydomain = other.test
relayhost = [192.0.2.1]
-- master.cf --
smtp inet n - n - - smtpd
  -o x=y
-- map hash /etc/postfix/t --
k v
-- aliases --
a: b
-- file /home/x owner alice mode 600 --
text
-- text letter --
Subject: x
-- zone --
a.test. A 192.0.2.1
-- zone later --
a.test. A 192.0.2.2
-- sink 192.0.2.10:25 --
name x
-- script --
# a comment
open A

A> EHLO x
-- differs --
s~a~b~
`

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse("sample", sample)
	if err != nil {
		t.Fatal(err)
	}
	if s.Story != "A sentence." || len(s.Steps) != 2 || s.Steps[1].Text != "A> EHLO x" || s.Steps[1].Line != 27 {
		t.Errorf("story %q steps %+v", s.Story, s.Steps)
	}
	want := []File{
		{Path: "/etc/postfix/t", Text: "k v\n", Mode: 0o644},
		{Path: "/etc/aliases", Text: "a: b\n", Mode: 0o644},
		{Path: "/home/x", Text: "text\n", Owner: "alice", Mode: 0o600},
		{Path: "work/letter", Text: "Subject: x\n", Mode: 0o644},
	}
	if !reflect.DeepEqual(s.Files, want) {
		t.Errorf("files %+v", s.Files)
	}
	if !reflect.DeepEqual(s.Maps, []string{"hash:/etc/postfix/t"}) || !s.Aliases || len(s.Zones) != 2 || len(s.Differs) != 1 {
		t.Errorf("%+v", s)
	}
	main := s.mainCF()
	if strings.Contains(main, "mydomain = example.test") || !strings.Contains(main, "mydomain = other.test") ||
		!strings.Contains(main, "myhostname = mx.example.test") {
		t.Errorf("main.cf:\n%s", main)
	}
	master := s.masterCF()
	if strings.Count(master, "\nsmtp ") != 2 || !strings.Contains(master, "smtp inet n - n - - smtpd\n  -o x=y") ||
		!strings.Contains(master, "smtp      unix") {
		t.Errorf("master.cf:\n%s", master)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no story":        "-- script --\nstart\n",
		"no script":       "x\n-- main.cf --\n",
		"unknown section": "x\n-- mian.cf --\n-- script --\nstart\n",
		"map":             "x\n-- map hash --\n-- script --\nstart\n",
		"file":            "x\n-- file --\n-- script --\nstart\n",
		"file word":       "x\n-- file /x colour red --\n-- script --\nstart\n",
		"file mode":       "x\n-- file /x mode 9 --\n-- script --\nstart\n",
		"text":            "x\n-- text --\n-- script --\nstart\n",
		"sink":            "x\n-- sink --\n-- script --\nstart\n",
		"zone":            "x\n-- zone --\nnonsense\n-- script --\nstart\n",
		"differs":         "x\n-- differs --\nq~a~\n-- script --\nstart\n",
	} {
		if _, err := Parse(name, text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("x\n-- script --\nstart\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("x", text)
		if err != nil {
			return
		}
		if s.Story == "" || len(s.Steps) == 0 {
			t.Errorf("%+v", s)
		}
		s.mainCF()
		s.masterCF()
	})
}

// TestScenariosParse reads every scenario, so that a mistake in one is found
// without root.
func TestScenariosParse(t *testing.T) {
	t.Parallel()
	all, err := Load(filepath.Join("..", "scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Errorf("only %d scenarios", len(all))
	}
	if _, err := LoadKnown(filepath.Join("..", "scenarios", "known.txt")); err != nil {
		t.Error(err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory without scenarios was taken")
	}
}

func TestLoadKnown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(path, []byte("# c\nname  the reason\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := LoadKnown(path)
	if err != nil || k["name"] != "the reason" || len(k) != 1 {
		t.Errorf("%v %v", k, err)
	}
	if err := os.WriteFile(path, []byte("name\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKnown(path); err == nil {
		t.Error("an entry without reason was taken")
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	d, err := parseDiffers("# c\ns~^one (\\w+)~two $1~\nd~drop~\na~^x$~after~\ni~^x$~before~\nc~^qmgr: ~cleanup: QID: gone~\n")
	if err != nil {
		t.Fatal(err)
	}
	got := Apply(d, []string{"one word", "drop me", "x", "", "smtpd: QID1: client=c", "qmgr: QID1: from", "", "smtpd: QID2: client=c", "", "pickup: QID3: uid"})
	want := []string{"two word", "before", "x", "after", "", "smtpd: QID1: client=c", "qmgr: QID1: from", "",
		"smtpd: QID2: client=c", "cleanup: QID2: gone", "", "pickup: QID3: uid"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	for _, line := range []string{"s~a~", "d~a~b~", "s~(~b~", "x~a~b~", "s"} {
		if _, err := parseDiffers(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func FuzzParseDiffers(f *testing.F) {
	f.Add("s~a~b~\nd~x~\n")
	f.Fuzz(func(_ *testing.T, text string) {
		if d, err := parseDiffers(text); err == nil {
			Apply(d, []string{"a", "", "smtpd: QID1: client=x"})
		}
	})
}

func TestDiff(t *testing.T) {
	t.Parallel()
	same := []string{"a", "b", "c"}
	if d := Diff(same, same); d != "" {
		t.Errorf("equal: %q", d)
	}
	got := Diff([]string{"1", "2", "3", "4", "5", "6", "old", "7"}, []string{"1", "2", "3", "4", "5", "6", "new", "7"})
	if want := "...\n  4\n  5\n  6\n- old\n+ new\n  7\n"; strings.TrimPrefix(got, "...\n") != strings.TrimPrefix(want, "...\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	r := &Raw{
		Steps: []string{
			"A< 250 2.0.0 Ok: queued as AAAAAA2",
			"stderr: postfix: Postfix is using backwards-compatible default settings",
			"-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------",
			"AAAAAA2      247 Wed Nov 25 04:31:31  b@x",
			"  c@x",
			"",
			"AAAAAA1*     247 Wed Nov 25 04:31:31  a@x",
			"  c@x",
			"",
			"-- 0 Kbytes in 2 Requests.",
		},
		Mail: []Delivered{
			{Where: "mailbox m", Text: "| Received: by x id AAAAAA2\n| two\n"},
			{Where: "mailbox m", Text: "| Received: by x id AAAAAA1\n| one\n"},
		},
		Log: []string{
			"Nov 25 04:31:31 mx postfix/smtpd[1]: AAAAAA1: client=c",
			"Nov 25 04:31:31 mx postfix/smtpd[1]: AAAAAA2: client=c",
			"Nov 25 04:31:31 mx postfix/local[2]: AAAAAA1: to=<z@x>, status=sent",
			"Nov 25 04:31:31 mx postfix/local[3]: AAAAAA1: to=<y@x>, status=sent",
			"Nov 25 04:31:31 mx postfix/smtpd[1]: connect from c",
			"Nov 25 04:31:31 mx postfix/master[1]: daemon started -- version 3",
			"Nov 25 04:31:31 mx postfix/qmgr[1]: AAAAAA2: from=<a>, size=1, nrcpt=1 (queue active)",
			"Nov 25 04:31:32 mx postfix/qmgr[1]: AAAAAA2: from=<a>, size=1, nrcpt=1 (queue active)",
		},
	}
	want := `A< 250 2.0.0 Ok: queued as QID2
-Queue ID- --Size-- ----Arrival Time---- -Sender/Recipient-------
QID1* SIZE CTIME a@x
  c@x

QID2 SIZE CTIME b@x
  c@x

-- N Kbytes in 2 Requests.

== mailbox m, message 1
| Received: by x id QID1
| one

== mailbox m, message 2
| Received: by x id QID2
| two

== log
smtpd: connect from c

smtpd: QID1: client=c
local: QID1: to=<y@x>, status=sent
local: QID1: to=<z@x>, status=sent

smtpd: QID2: client=c
qmgr: QID2: from=<a>, size=S, nrcpt=1 (queue active)`
	if d := Diff(strings.Split(want, "\n"), r.Transcript()); d != "" {
		t.Errorf("transcript:\n%s", d)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	if got := quote("a\r\nb\rc\n\nd"); got != "| a\n| b<CR>c\n| \n| d\n" {
		t.Errorf("%q", got)
	}
}

func TestSortListingsJSON(t *testing.T) {
	t.Parallel()
	got := sortListings([]string{"x", `{"queue_name": "a", "queue_id": "QID10"}`, `{"queue_name": "a", "queue_id": "QID9"}`, "y"})
	if !strings.Contains(got[1], "QID9") || got[3] != "y" {
		t.Errorf("%q", got)
	}
}

func TestBaseZone(t *testing.T) {
	t.Parallel()
	if _, err := testkit.ParseZone(Zone("more.test. A 192.0.2.1\n")); err != nil {
		t.Error(err)
	}
}
