package maildrop

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
)

// spool makes a queue directory with a maildrop.
func spool(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, DirName), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// read decodes a whole message.
func read(d *Decoder) (*Envelope, string, []Recipient, error) {
	e, err := d.Envelope()
	if err != nil {
		return nil, "", nil, err
	}
	var content bytes.Buffer
	if err := d.Content(&content); err != nil {
		return e, "", nil, err
	}
	late, err := d.Extracted(e)
	return e, content.String(), late, err
}

var full = Envelope{
	Queued:   time.Unix(1_700_000_000, 123_456_000),
	FullName: "Full \"N", Sender: "a@b.example",
	Recipients: []Recipient{
		{Address: "u@v.example", ORCPT: "rfc822;x@y.example", Notify: mail.NotifySuccess | mail.NotifyDelay},
		{Address: "other", Notify: mail.NotifyNever},
		{Address: "plain"},
	},
	EnvID: "envid1", Ret: mail.RetHeaders, VERP: "+=", Encoding: "8bit", Trace: true, RequireTLS: true,
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*pieceSize+7)
	for _, tc := range []struct{ name, in, want string }{
		{"lines", "Subject: x\n\nhello\n", "Subject: x\r\n\r\nhello\r\n"},
		{"no last newline", "Subject: x\n\nhello", "Subject: x\r\n\r\nhello\r\n"},
		{"empty", "", ""},
		{"long line", "a\n" + long + "\nb\n", "a\r\n" + long + "\r\nb\r\n"},
		{"carriage return kept", "a\rb\n", "a\rb\r\n"},
		{"NUL kept", "a\x00b\n", "a\x00b\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := spool(t)
			env := full
			w, err := Create(dir, &env)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(tc.in); i += 1000 {
				if _, err := w.Write([]byte(tc.in[i:min(i+1000, len(tc.in))])); err != nil {
					t.Fatal(err)
				}
			}
			if names, _ := List(dir, 0); len(names) != 0 {
				t.Fatalf("listed before commit: %v", names)
			}
			if err := w.AddRecipient(Recipient{Address: "late@v.example"}); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			names, err := List(dir, 0)
			if err != nil || len(names) != 1 {
				t.Fatalf("List = %v, %v", names, err)
			}
			d, err := Open(dir, names[0])
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			got, content, late, err := read(d.Decoder)
			if err != nil {
				t.Fatal(err)
			}
			if len(tc.in) == 0 {
				if len(got.Recipients)+len(late) != 4 {
					t.Fatalf("recipients %v %v", got.Recipients, late)
				}
				return
			}
			if !reflect.DeepEqual(*got, full) {
				t.Errorf("envelope\n got %+v\nwant %+v", *got, full)
			}
			if content != tc.want {
				t.Errorf("content %q, want %q", content, tc.want)
			}
			if len(late) != 1 || late[0].Address != "late@v.example" {
				t.Errorf("late %v", late)
			}
			if d.UID != os.Getuid() {
				t.Errorf("uid %d", d.UID)
			}
		})
	}
}

// TestSenderOptions: the numbers are those of Postfix, which files and postcat show.
func TestSenderOptions(t *testing.T) {
	t.Parallel()
	if got := [...]int{SenderOptions(true, false, false), SenderOptions(false, true, false), SenderOptions(false, false, true)}; got != [...]int{1, 16, 32} {
		t.Errorf("%d", got)
	}
}

// TestPostfixFile reads what Postfix's own postdrop(1) wrote.
func TestPostfixFile(t *testing.T) {
	t.Parallel()
	raw, err := hex.DecodeString(
		"541131373935353831353138203832333338314115726577726974655f636f6e746578743d6c6f63616c4604726f6f74" +
			"5304726f6f74411074726163655f666c6167733d313032344d004e0a5375626a6563743a20784e0f546f3a207540762e" +
			"6578616d706c654e104263633a207a40762e6578616d706c654e004c0568656c6c6f4e005800520b7540762e6578616d" +
			"706c65520b7a40762e6578616d706c654500")
	if err != nil {
		t.Fatal(err)
	}
	e, content, late, err := read(NewDecoder(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	want := Envelope{Queued: time.Unix(1795581518, 823381000), FullName: "root", Sender: "root", Trace: true}
	if !reflect.DeepEqual(*e, want) {
		t.Errorf("envelope %+v, want %+v", *e, want)
	}
	if content != "Subject: x\r\nTo: u@v.example\r\nBcc: z@v.example\r\n\r\nhello\r\n" {
		t.Errorf("content %q", content)
	}
	if len(late) != 2 || late[1].Address != "z@v.example" {
		t.Errorf("late %v", late)
	}
}

// TestRefused lists what a hostile submitter may try.
func TestRefused(t *testing.T) {
	t.Parallel()
	rec := func(kind byte, s string) string { return string(kind) + string(rune(len(s))) + s }
	head := rec('T', "1 2") + rec('S', "s")
	tail := rec('M', "") + rec('N', "x") + rec('X', "")
	for name, raw := range map[string]string{
		"empty":             "",
		"no sender":         rec('T', "1") + rec('R', "r") + tail + rec('E', ""),
		"two senders":       head + rec('S', "t") + tail + rec('E', ""),
		"no end":            head + rec('R', "r") + tail,
		"type 0":            head + rec(0, "r") + tail + rec('E', ""),
		"unknown type":      head + rec('z', "r") + tail + rec('E', ""),
		"redirect":          head + rec('>', "r@x") + tail + rec('E', ""),
		"filter":            head + rec('I', "smtp:x") + tail + rec('E', ""),
		"over-shift length": head + "R\xff\xff\xff\xff\xff\x01",
		"huge record":       head + "R\xff\xff\x7f",
		"truncated":         head + "R\x20abc",
		"newline in sender": rec('S', "a\nb") + tail + rec('E', ""),
		"NUL in recipient":  head + rec('R', "a\x00b") + tail + rec('E', ""),
		"bad attribute":     head + rec('A', "novalue") + tail + rec('E', ""),
		"bad notify":        head + rec('A', "notify_flags=99") + rec('R', "r") + tail + rec('E', ""),
		"bad time":          rec('T', "-1") + rec('S', "s") + tail + rec('E', ""),
		"sender at the end": head + tail + rec('S', "t") + rec('E', ""),
		"pointer in body":   head + rec('M', "") + rec('p', "1") + rec('X', "") + rec('E', ""),
	} {
		if _, _, _, err := read(NewDecoder(strings.NewReader(raw))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := head + strings.Repeat(rec('A', "x=y"), maxAttrs+1) + tail + rec('E', "")
	if _, _, _, err := read(NewDecoder(strings.NewReader(many))); !errors.Is(err, ErrFormat) {
		t.Errorf("attributes: %v", err)
	}
	crowd := head + strings.Repeat(rec('R', "r"), MaxRecipients+1) + tail + rec('E', "")
	if _, _, _, err := read(NewDecoder(strings.NewReader(crowd))); !errors.Is(err, ErrFormat) {
		t.Errorf("recipients: %v", err)
	}
}

// TestSmuggledLine proves that a line break inside a record stays one line.
func TestSmuggledLine(t *testing.T) {
	t.Parallel()
	raw := "T\x011S\x01sM\x00N\x05a\nb\ncX\x00E\x00"
	_, content, _, err := read(NewDecoder(strings.NewReader(raw)))
	if err != nil || content != "a b c\r\n" {
		t.Fatalf("%q, %v", content, err)
	}
}

func TestEncoderRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewEncoder(&bytes.Buffer{}, &Envelope{Sender: "a\nb"}); !errors.Is(err, ErrFormat) {
		t.Errorf("sender with newline: %v", err)
	}
	e, err := NewEncoder(&bytes.Buffer{}, &Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddRecipient(Recipient{Address: "a\x00"}); !errors.Is(err, ErrFormat) {
		t.Errorf("recipient with NUL: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write([]byte("x\n")); err == nil {
		t.Error("write after close")
	}
}

func TestOpenSafety(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	drop := filepath.Join(dir, DirName)
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(target, filepath.Join(drop, "SYMLINK")))
	must(os.Link(target, filepath.Join(drop, "HARDLINK")))
	must(os.WriteFile(filepath.Join(drop, "PARTIAL"), nil, 0o600))
	must(os.Mkdir(filepath.Join(drop, "DIRECTORY"), 0o700))
	for name, want := range map[string]error{
		"SYMLINK": ErrUnsafe, "HARDLINK": ErrUnsafe, "PARTIAL": ErrIncomplete, "DIRECTORY": ErrUnsafe,
		"../target": ErrUnsafe, "NOTTHERE": os.ErrNotExist,
	} {
		if _, err := Open(dir, name); !errors.Is(err, want) {
			t.Errorf("Open(%s) = %v, want %v", name, err, want)
		}
	}
	removed, err := Stale(dir, time.Hour, time.Now().Add(2*time.Hour))
	if err != nil || len(removed) != 1 || removed[0] != "PARTIAL" {
		t.Errorf("Stale = %v, %v", removed, err)
	}
}

func TestLockAndRemove(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	w, err := Create(dir, &full)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	first, err := Open(dir, w.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, w.Name()); !errors.Is(err, ErrBusy) {
		t.Errorf("second open: %v", err)
	}
	if err := first.SetAside(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "corrupt", w.Name())); err != nil {
		t.Error(err)
	}
	w, err = Create(dir, &full)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if left, _ := os.ReadDir(filepath.Join(dir, DirName)); len(left) != 0 {
		t.Errorf("left after abort: %v", left)
	}
}

// FuzzDecoder feeds arbitrary files; what can be read must survive a round trip.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("T\x011S\x01sR\x01rM\x00N\x05helloX\x00E\x00"))
	f.Add([]byte("T\x011A\x0enotify_flags=2S\x01sM\x00L\x01aX\x00R\x01rE\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, content, late, err := read(NewDecoder(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		var out bytes.Buffer
		enc, err := NewEncoder(&out, e)
		if err != nil {
			t.Fatalf("cannot encode what was decoded: %v", err)
		}
		if _, err := enc.Write([]byte(strings.ReplaceAll(content, "\r\n", "\n"))); err != nil {
			t.Fatal(err)
		}
		for _, r := range late {
			if err := enc.AddRecipient(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		_, again, lateAgain, err := read(NewDecoder(&out))
		if err != nil || len(lateAgain) != len(late) {
			t.Fatalf("second reading: %v, %d recipients of %d", err, len(lateAgain), len(late))
		}
		if strings.Count(again, "\n") < strings.Count(content, "\n")-1 {
			t.Fatalf("lines lost: %q became %q", content, again)
		}
	})
}
