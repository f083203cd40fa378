package testkit

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestLedgerJudge(t *testing.T) {
	t.Parallel()
	l := NewLedger()
	a, b := l.NewID(), l.NewID()
	if a == b {
		t.Fatalf("the same name twice: %s", a)
	}
	l.Ack(a, "X@one.test", "y@one.test")
	l.Ack(b, "x@one.test")
	l.Arrived(a, "x@one.test", "")
	l.Arrived(a, "x@ONE.test", "")
	l.Arrived(b, "x@one.test", "cut off")
	l.Arrived("never", "x@one.test", "")
	got := l.Judge()
	want := Verdict{Acked: 3, Lost: []string{a + " y@one.test"}, Broken: []string{b + " x@one.test: cut off"}, Duplicates: 1, Unacked: 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("verdict %+v", got)
	}
	if s := got.String(); s != "acknowledged 3, lost 1, damaged 1, duplicated 1, delivered unasked 1" {
		t.Error(s)
	}
	if l.Acked() != 3 || l.Delivered() != 3 {
		t.Errorf("acked %d delivered %d", l.Acked(), l.Delivered())
	}
}

func TestLetter(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	letter := NewLetter("m1", 3000, rnd)
	if n := len(letter.Text); n < 3000 || n > 4000 {
		t.Errorf("%d bytes", n)
	}
	arrived := "Received: from x\r\n" + letter.Text
	for _, c := range []struct {
		text, fault string
		ok          bool
	}{
		{arrived, "", true},
		{strings.ReplaceAll(arrived, "\r\n", "\n"), "", true},
		{arrived[:len(arrived)-10], "the body is not", true},
		{arrived + "more", "the body is not", true},
		{"X-Letter: m1 abc\n", "the header is cut", true},
		{"Subject: x\n\nX-Letter: m1 abc\n", "", false},
	} {
		id, fault, ok := ReadLetter(c.text)
		if ok != c.ok || ok && id != "m1" || !strings.HasPrefix(fault, c.fault) || (c.fault == "") != (fault == "") {
			t.Errorf("%.40q: %q %q %v", c.text, id, fault, ok)
		}
	}
}

func FuzzReadLetter(f *testing.F) {
	f.Add("X-Letter: m1 abc\n\nbody")
	f.Fuzz(func(t *testing.T, text string) {
		if id, fault, ok := ReadLetter(text); !ok && (id != "" || fault != "") {
			t.Errorf("%q %q without a letter", id, fault)
		}
	})
}
