package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
)

// oneMessage is a queue with one message.
type oneMessage struct{ changed []mail.QueueID }

const inQueue = mail.QueueID("0123456789AB")

func (q *oneMessage) List(_ context.Context, yield func(*control.Entry) error) error {
	return yield(&control.Entry{Queue: "deferred", ID: inQueue})
}

func (q *oneMessage) Change(_ context.Context, _ control.Op, sel control.Selection, report func(mail.QueueID)) (int, error) {
	if !sel.All && !slices.Contains(sel.IDs, inQueue) {
		return 0, nil
	}
	q.changed = append(q.changed, inQueue)
	report(inQueue)
	return 1, nil
}

func (q *oneMessage) Cat(_ context.Context, id mail.QueueID) (*control.Message, error) {
	return nil, control.ErrNotFound
}

// TestAdmin: the maildrop is shown, and its messages can be deleted and nothing else.
func TestAdmin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &admin{Queue: &oneMessage{}, dir: dir}
	ctx := context.Background()
	list := func() (out []string) {
		t.Helper()
		if err := a.List(ctx, func(e *control.Entry) error { out = append(out, e.Queue+" "+string(e.ID)); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := list(); len(got) != 1 {
		t.Errorf("without a maildrop: %q", got)
	}
	if err := os.Mkdir(filepath.Join(dir, maildrop.DirName), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := maildrop.Create(dir, &maildrop.Envelope{Sender: "alice", Recipients: []maildrop.Recipient{{Address: "bob"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Subject: x\n\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	id := mail.QueueID(w.Name())
	if got, want := list(), []string{"maildrop " + w.Name(), "deferred " + string(inQueue)}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if m, err := a.Cat(ctx, id); err != nil || m.Envelope.Sender != "alice" || m.Queue != dropQueue {
		t.Errorf("Cat: %+v, %v", m, err)
	}
	if _, err := a.Cat(ctx, "NOSUCH1"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("Cat of nothing: %v", err)
	}
	var done []mail.QueueID
	report := func(id mail.QueueID) { done = append(done, id) }
	for _, tt := range []struct {
		op   control.Op
		sel  control.Selection
		want []mail.QueueID
	}{
		{control.OpHold, control.Selection{All: true}, []mail.QueueID{inQueue}},
		{control.OpDelete, control.Selection{IDs: []mail.QueueID{id}, Queues: []string{"hold"}}, nil},
		{control.OpRequeue, control.Selection{All: true, Queues: []string{"maildrop"}}, nil},
		{control.OpDelete, control.Selection{All: true}, []mail.QueueID{id, inQueue}},
		{control.OpDelete, control.Selection{All: true, Queues: []string{"maildrop"}}, nil},
	} {
		done = nil
		n, err := a.Change(ctx, tt.op, tt.sel, report)
		if err != nil || n != len(tt.want) || !slices.Equal(done, tt.want) {
			t.Errorf("%s %+v: %d %q, %v; want %q", tt.op, tt.sel, n, done, err, tt.want)
		}
	}
}

// TestRequeueKeeps: a message that cannot be put back is not poked for.
func TestRequeueKeeps(t *testing.T) {
	t.Parallel()
	poked := 0
	err := requeue(t.TempDir(), os.Geteuid(), func() { poked++ })(context.Background(), &mail.Envelope{ID: inQueue}, nil)
	if !errors.Is(err, os.ErrNotExist) || poked != 0 {
		t.Errorf("%v, poked %d times", err, poked)
	}
}
