package privdeliver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const message = "Subject: x\r\n\r\nFrom here\r\nand there\r\n"

func text(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func read1(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v %v", pattern, names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMaildirIsWrittenOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "box")
	r := &Request{Kind: Maildir, Path: dir, Name: "1.Q1R0.host", Prefix: []byte("Return-Path: <a@b>\n"), Size: int64(len(message))}
	for n := range 3 {
		if res := Do(r, strings.NewReader(message)); res.Class != OK || !res.Unsynced {
			t.Fatalf("attempt %d: %+v", n, res)
		}
		r.Again = true
	}
	want := "Return-Path: <a@b>\nSubject: x\n\nFrom here\nand there\n"
	if got := read1(t, filepath.Join(dir, "new", "*")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
	// A reader takes it; a repeated delivery must not bring it back.
	if err := os.Rename(filepath.Join(dir, "new", r.Name), filepath.Join(dir, "cur", r.Name+":2,S")); err != nil {
		t.Fatal(err)
	}
	if res := Do(r, strings.NewReader(message)); res.Class != OK {
		t.Fatal(res)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "new")); len(left) != 0 {
		t.Errorf("the message came again: %v", left)
	}
	if res := Do(&Request{Kind: Sync, Path: dir, Name: r.Name}, nil); res.Class != OK {
		t.Errorf("sync of a moved file: %+v", res)
	}
}

// TestMaildirInParts: folders that are not there are made, whichever they are.
func TestMaildirInParts(t *testing.T) {
	t.Parallel()
	for _, there := range [][]string{{"tmp"}, {"tmp", "cur"}, {"new"}, {"cur"}, nil} {
		dir := t.TempDir()
		for _, sub := range there {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r := &Request{Kind: Maildir, Path: dir, Name: "1.host", Size: int64(len(message))}
		if res := Do(r, strings.NewReader(message)); res.Class != OK {
			t.Errorf("%q: %+v", there, res)
		}
		read1(t, filepath.Join(dir, "new", "1.host"))
	}
}

func TestMboxFormat(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "box")
	r := &Request{Kind: Mbox, Path: file, From: "From a@b  Sun Nov 22 13:00:00 2026", Prefix: []byte("Return-Path: <a@b>\n"),
		Locks: []string{"fcntl", "dotlock"}, Attempts: 1, Size: int64(len(message))}
	for range 2 {
		if res := Do(r, strings.NewReader(message)); res.Class != OK {
			t.Fatalf("%+v", res)
		}
	}
	one := "From a@b  Sun Nov 22 13:00:00 2026\nReturn-Path: <a@b>\nSubject: x\n\n>From here\nand there\n\n"
	if got := read1(t, file); got != one+one {
		t.Errorf("got %q", got)
	}
	r.Limit = 200
	if res := Do(r, strings.NewReader(message)); res.Class != Quota {
		t.Errorf("over the limit: %+v", res)
	}
	if got := read1(t, file); got != one+one {
		t.Error("the refused message left traces")
	}
}

func TestMboxRefusesStrangeFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plain, filepath.Join(dir, "symlink")); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(dir, "two")
	if err := os.WriteFile(two, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(two, filepath.Join(dir, "hardlink")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"symlink", "hardlink", "."} {
		res := Do(&Request{Kind: Mbox, Path: filepath.Join(dir, name), From: "From x"}, strings.NewReader(message))
		if res.Class == OK {
			t.Errorf("%s was written", name)
		}
	}
	if got, _ := os.ReadFile(plain); string(got) != "keep" {
		t.Errorf("target changed: %q", got)
	}
}

func TestMboxWaitsForTheDotLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "box")
	if err := os.WriteFile(file+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Request{Kind: Mbox, Path: file, From: "From x", Locks: []string{"dotlock"}, Attempts: 2, Delay: time.Millisecond}
	if res := Do(r, strings.NewReader(message)); res.Class != Temporary {
		t.Errorf("locked mailbox: %+v", res)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file+".lock", old, old); err != nil {
		t.Fatal(err)
	}
	r.Stale = time.Minute
	if res := Do(r, strings.NewReader(message)); res.Class != OK {
		t.Errorf("stale lock: %+v", res)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		class  Class
		exit   int
		output string
	}{
		"reads the message": {"cat", OK, 0, "Subject: x\n\nFrom here\nand there\n"},
		"exit status":       {"echo no; exit 67", Failed, 67, "no\n"},
		"signal":            {"kill -9 $$", Failed, -1, ""},
		"ignores input":     {"exit 0", OK, 0, ""},
		"time limit":        {"sleep 100 & sleep 100", Failed, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if name == "time limit" {
				limit = 50 * time.Millisecond
			}
			r := &Request{Kind: Command, Argv: []string{"/bin/sh", "-c", test.script}, Timeout: limit}
			res := Do(r, strings.NewReader(message))
			if res.Class != test.class || res.Exit != test.exit || string(res.Output) != test.output {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestReadRefusesWorldWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), ".forward")
	if err := os.WriteFile(file, []byte("a@b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := Do(&Request{Kind: Read, Path: file}, nil); res.Class != OK || string(res.Output) != "a@b\n" {
		t.Errorf("%+v", res)
	}
	if err := os.Chmod(file, 0o606); err != nil {
		t.Fatal(err)
	}
	if res := Do(&Request{Kind: Read, Path: file}, nil); res.Class != Permission {
		t.Errorf("world writable: %+v", res)
	}
	if res := Do(&Request{Kind: Read, Path: file + "x"}, nil); res.Class != NotFound {
		t.Errorf("missing: %+v", res)
	}
}

func TestCopyTextAtBufferEdges(t *testing.T) {
	t.Parallel()
	for n := bufferSize - 3; n <= bufferSize+3; n++ {
		in := strings.Repeat("x", n) + "\r\nFrom y\r\n" + strings.Repeat("z", n)
		want := strings.Repeat("x", n) + "\n>From y\n" + strings.Repeat("z", n)
		var out bytes.Buffer
		if err := copyText(&out, strings.NewReader(in), bufferSize, &Form{From: true}); err != nil || out.String() != want {
			t.Errorf("%d: %d bytes, want %d: %v", n, out.Len(), len(want), err)
		}
	}
}

func TestCopyTextForms(t *testing.T) {
	t.Parallel()
	in := "From a\r\n.b\r\n\r\nFrom c\r\nx.\r\n"
	for _, c := range []struct {
		form Form
		want string
	}{
		{Form{}, "From a\n.b\n\nFrom c\nx.\n"},
		{Form{From: true, Blank: true}, ">From a\n.b\n\n>From c\nx.\n\n"},
		{Form{Dot: true, EOL: "\r\n"}, "From a\r\n..b\r\n\r\nFrom c\r\nx.\r\n"},
		{Form{Blank: true, EOL: "!"}, "From a!.b!!From c!x.!!"},
	} {
		var out bytes.Buffer
		if err := copyText(&out, strings.NewReader(in), int64(len(in)), &c.form); err != nil || out.String() != c.want {
			t.Errorf("%+v: %q, want %q: %v", c.form, out.String(), c.want, err)
		}
	}
	// The end of a line across the end of the buffer, and a line that begins behind it.
	for n := bufferSize - 3; n <= bufferSize+3; n++ {
		in, want := strings.Repeat("x", n)+"\r\n.y\r\n", strings.Repeat("x", n)+"|..y|"
		var out bytes.Buffer
		if err := copyText(&out, strings.NewReader(in), bufferSize, &Form{EOL: "|", Dot: true}); err != nil || out.String() != want {
			t.Errorf("%d: %d bytes, want %d: %v", n, out.Len(), len(want), err)
		}
	}
}

// TestLink talks to a served socket as the worker does.
func TestLink(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	// goroutine: the process of the user; ends when the link closes.
	go func() { done <- Serve(theirs, nil) }()
	l := newLink(ours)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			body := message + strings.Repeat("large\r\n", n*10000)
			r := &Request{Kind: Maildir, Path: dir, Name: fmt.Sprintf("%d.host", n), Size: int64(len(body))}
			res, err := l.ask(context.Background(), r, text(body))
			if err != nil || res.Class != OK {
				t.Errorf("%d: %+v %v", n, res, err)
			}
		})
	}
	wg.Wait()
	names, _ := os.ReadDir(filepath.Join(dir, "new"))
	if len(names) != 20 {
		t.Errorf("%d files", len(names))
	}
	l.close()
	if err := <-done; err != nil && err != io.ErrClosedPipe {
		t.Error(err)
	}
	if _, err := l.ask(context.Background(), &Request{Kind: Read}, nil); err == nil {
		t.Error("a dead link answered")
	}
}

func TestWire(t *testing.T) {
	t.Parallel()
	q := question{ID: 7, Content: true, Request: Request{
		Kind: Command, Path: "/a", Name: "n", Again: true, Prefix: []byte("x\n"), From: "From a", Limit: 1 << 40,
		Locks: []string{"fcntl", "dotlock"}, Attempts: 3, Delay: time.Second, Stale: time.Hour,
		Argv: []string{"/bin/true", ""}, Env: []string{"A=b"}, Dir: "/", Timeout: time.Minute, Size: 99, Owner: 1000, Group: 100, Named: true,
	}}
	frame, err := appendQuestion(nil, &q)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readQuestion(bufio.NewReader(bytes.NewReader(frame))); err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("%+v %v", got, err)
	}
	a := answer{ID: 8, Result: Result{Class: Failed, Text: "no", Output: []byte("out"), Exit: -1, Unsynced: true, Device: 1<<63 | 5, Code: "4.2.0", Warning: "w", UID: 7}}
	if frame, err = appendAnswer(nil, &a); err != nil {
		t.Fatal(err)
	}
	if got, err := readAnswer(bufio.NewReader(bytes.NewReader(frame))); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v %v", got, err)
	}
	a.Result.Output = make([]byte, maxFrame)
	if _, err = appendAnswer(nil, &a); err != errFrame {
		t.Errorf("a frame that is too long: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	one, _ := appendQuestion(nil, &question{Request: Request{Path: "/x", Locks: []string{"a"}}})
	two, _ := appendAnswer(nil, &answer{Result: Result{Text: "x"}})
	f.Add(one)
	f.Add(two)
	f.Fuzz(func(t *testing.T, in []byte) {
		if q, err := readQuestion(bufio.NewReader(bytes.NewReader(in))); err == nil {
			again, err := appendQuestion(nil, &q)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readQuestion(bufio.NewReader(bytes.NewReader(again))); err != nil || got.Request.Path != q.Request.Path {
				t.Errorf("%+v %v", got, err)
			}
		}
		_, _ = readAnswer(bufio.NewReader(bytes.NewReader(in)))
	})
}
