package postconf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const editMainText = `# comment
myhostname = mail.example.com
   # inner comment
mydestination = a,
# keep me
   b
# after
relayhost=[x]
mydestination = twice
`

// TestEditMain checks edits of main.cf.
func TestEditMain(t *testing.T) {
	for _, test := range []struct {
		mode       EditMode
		args, want string
		warnings   int
	}{
		{EditSet, "myhostname=new", strings.Replace(editMainText, "mail.example.com", "new", 1), 0},
		{EditSet, "zz = 1|aa=$b  c", editMainText + "aa = $b  c\nzz = 1\n", 0},
		{EditSet, "mydestination =", "# comment\nmyhostname = mail.example.com\n   # inner comment\nmydestination = \n# keep me\n# after\nrelayhost=[x]\nmydestination = \n", 1},
		{EditSet, "a=1|a=2", editMainText + "a = 2\n", 1},
		{EditComment, "mydestination", "# comment\nmyhostname = mail.example.com\n   # inner comment\n#mydestination = a,\n# keep me\n#   b\n# after\nrelayhost=[x]\n#mydestination = twice\n", 1},
		{EditDelete, "mydestination|nosuch", "# comment\nmyhostname = mail.example.com\n   # inner comment\n# keep me\n# after\nrelayhost=[x]\n", 1},
		{EditDelete, "relayhost", strings.Replace(editMainText, "relayhost=[x]\n", "", 1), 0},
	} {
		var edits []MainEdit
		for _, arg := range strings.Split(test.args, "|") {
			e, err := ParseMainEdit(test.mode, arg)
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, e)
		}
		got, warnings := EditMain("main.cf", []byte(editMainText), test.mode, edits)
		if string(got) != test.want || len(warnings) != test.warnings {
			t.Errorf("%d %s: %q\ngot\n%s\nwant\n%s", test.mode, test.args, warnings, got, test.want)
		}
	}
	for _, arg := range []string{"a", "=b", "#a=b", "a=b\nc", "a b=c"} {
		if _, err := ParseMainEdit(EditSet, arg); err == nil {
			t.Errorf("%q: no error", arg)
		}
	}
	for _, arg := range []string{"", " ", "a=b", "#a", "a\n"} {
		if _, err := ParseMainEdit(EditDelete, arg); err == nil {
			t.Errorf("%q: no error", arg)
		}
	}
}

const editMasterText = `# services
smtp      inet  n       -       n       -       -       smtpd
  -o smtpd_timeout=1s
# inner
  -o smtpd_helo_required=yes
# after smtp

pickup    unix  n       -       n       60      1       pickup
qmgr unix n - n 300 1 qmgr
`

// TestEditMaster checks edits of master.cf.
func TestEditMaster(t *testing.T) {
	const smtp = "smtp      inet  n       -       n       -       -       smtpd\n  -o smtpd_timeout=1s\n# inner\n  -o smtpd_helo_required=yes\n"
	const whole = smtp + "# after smtp\n\n"
	const inner = "# inner\n# after smtp\n\n"
	const pickup = "pickup    unix  n       -       n       60      1       pickup\n"
	line := func(words string) string {
		s, _, err := ParseService(words)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := s.Format(true, nil)
		return text + "\n"
	}
	for _, test := range []struct {
		mode           EditMode
		part           MasterPart
		args, old, new string
	}{
		{EditSet, WholeEntry, "smtp/inet=smtp inet n - y - 5 smtpd -v", smtp, line("smtp inet n - y - 5 smtpd -v") + "# inner\n"},
		{EditSet, WholeEntry, "new/unix=new unix - - n - - smtp", "qmgr unix n - n 300 1 qmgr\n", "qmgr unix n - n 300 1 qmgr\n" + line("new unix - - n - - smtp")},
		{EditSet, WholeEntry, "x/unix=pickup unix n - y - - pickup", pickup, line("pickup unix n - y - - pickup")},
		{EditDelete, WholeEntry, "smtp/inet", smtp, "# inner\n"},
		{EditDelete, WholeEntry, "nosuch/inet", "", ""},
		{EditComment, WholeEntry, "smtp/inet", smtp, "#smtp      inet  n       -       n       -       -       smtpd\n#  -o smtpd_timeout=1s\n# inner\n#  -o smtpd_helo_required=yes\n"},
		{EditSet, EntryField, "pickup/unix/wakeup=5", pickup, line("pickup unix n - n 5 1 pickup")},
		{EditSet, EntryField, "smtp/inet/chroot=y", whole, inner + line("smtp inet n - y - - smtpd -o smtpd_timeout=1s -o smtpd_helo_required=yes")},
		{EditSet, EntryField, "smtp/inet/command=x -o {a = b c}", whole, inner + line("smtp inet n - n - - x -o {a=b c}")},
		{EditSet, EntryParam, "smtp/inet/smtpd_timeout=2s|smtp/*/a=b", whole, inner + line("smtp inet n - n - - smtpd -o smtpd_timeout=2s -o smtpd_helo_required=yes -o a=b")},
		{EditDelete, EntryParam, "smtp/inet/smtpd_timeout", whole, inner + line("smtp inet n - n - - smtpd -o smtpd_helo_required=yes")},
	} {
		var edits []MasterEdit
		for _, arg := range strings.Split(test.args, "|") {
			e, err := ParseMasterEdit(test.mode, test.part, arg)
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, e)
		}
		got, _, err := EditMaster("master.cf", []byte(editMasterText), test.mode, test.part, edits)
		want := strings.Replace(editMasterText, test.old, test.new, 1)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", test.args, err, got, want)
		}
	}
}

// TestEditMasterErrors checks what is refused.
func TestEditMasterErrors(t *testing.T) {
	for _, test := range []struct {
		mode      EditMode
		part      MasterPart
		arg, want string
	}{
		{EditSet, WholeEntry, "smtp/inet=bad", `bad field count: "smtp/inet=bad"`},
		{EditSet, WholeEntry, "smtp/inet=s inet x - n - - c", `invalid private field "x" in "s inet x - n - - c"`},
		{EditSet, WholeEntry, "smtp=x", "-Me, -MX or -M# requires service_name/type"},
		{EditSet, WholeEntry, "/x=x", "-Me, -MX or -M# requires service_name/type"},
		{EditSet, WholeEntry, "a*/inet=x", "-Me, -MX or -M# requires service_name/type"},
		{EditSet, EntryField, "smtp/inet/x=y", `invalid service attribute name: "x"`},
		{EditSet, EntryField, "smtp/inet/*=y", "-Fe does not accept wild-card field name"},
		{EditSet, EntryField, "smtp/inet/chroot=a b", "-Fe does not accept whitespace in non-command field"},
		{EditSet, EntryField, "smtp/inet/chroot=maybe", `invalid chroot field "maybe" in "maybe"`},
		{EditSet, EntryField, "smtp/inet/chroot=", `-Fe requires a value: "smtp/inet/chroot="`},
		{EditSet, EntryParam, "smtp/inet/*=y", "-Pe does not accept wild-card parameter name"},
		{EditSet, EntryParam, "smtp/inet/a=y z", "-Pe does not accept whitespace in parameter value"},
		{EditSet, EntryParam, "smtp/inet=y", "-Pe or -PX requires service_name/type/parameter"},
		{EditDelete, WholeEntry, "smtp/inet=x", "-X or -# requires names without value"},
		{EditSet, WholeEntry, "#a", "-Me, -Fe, -Pe, -X, or -# accept no comment input"},
		{EditSet, WholeEntry, "a\n", "-Me, -Fe, -Pe, -X, or -# accept no multi-line input"},
	} {
		e, err := ParseMasterEdit(test.mode, test.part, test.arg)
		if err == nil {
			_, _, err = EditMaster("master.cf", []byte(editMasterText), test.mode, test.part, []MasterEdit{e})
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v", test.arg, err)
		}
	}
	for text, want := range map[string]string{
		"smtp\n inet n - n - - smtpd\n": "file m: line 1: specify service name and type on the same line",
		"\na=b inet n - n - - x\n":      "file m: line 2: service name syntax \"a=b\" is unsupported with -Me, -Fe, -Pe, -X, or -#",
		"a in/et n - n - - x\n":         "file m: line 1: service type syntax \"in/et\" is unsupported with -Me, -Fe, -Pe, -X, or -#",
		"smtp inet n\n":                 "file m: line 1: bad field count in \"smtp inet n\"",
	} {
		_, _, err := EditMaster("m", []byte(text), EditSet, EntryParam, []MasterEdit{{Name: "smtp", Type: "inet", Param: "a"}})
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// TestReplaceFile checks that a file is replaced in one step or not at all, that
// its mode stays, that a symbolic link stays one, and that editors take turns.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "main.cf"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("a = 1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	errWanted := errors.New("wanted")
	err := ReplaceFile(file, func([]byte) ([]byte, error) { return nil, errWanted })
	if data, _ := os.ReadFile(file); !errors.Is(err, errWanted) || string(data) != "a = 1\n" {
		t.Errorf("got %q, %v", data, err)
	}
	var editors sync.WaitGroup
	for range 8 {
		// goroutine: ends when its edit is done.
		editors.Go(func() {
			err := ReplaceFile(link, func(old []byte) ([]byte, error) { return append(old, "b = 2\n"...), nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	editors.Wait()
	data, err := os.ReadFile(file)
	if want := "a = 1\n" + strings.Repeat("b = 2\n", 8); string(data) != want || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
	if info, err := os.Lstat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(dir); len(names) != 2 || err != nil {
		t.Errorf("left over: %v, %v", names, err)
	}
	if err := ReplaceFile(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a file that does not exist was replaced")
	}
}
