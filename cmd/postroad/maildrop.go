package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
)

// admin is what commands do with the messages of this machine: those of the queue,
// and those that lie in the maildrop before it.
type admin struct {
	control.Queue
	// dir is queue_directory.
	dir string
}

// dropQueue is the name of the maildrop among the queues.
const dropQueue = "maildrop"

// List implements control.Queue: the maildrop first, as showq(8).
func (a *admin) List(ctx context.Context, yield func(*control.Entry) error) error {
	names, err := maildrop.List(a.dir, 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range names {
		m, err := maildrop.Peek(a.dir, name)
		if err != nil {
			continue // gone, or damaged, which is pickup's affair
		}
		e := &control.Entry{
			Queue: dropQueue, ID: m.Envelope.ID, Arrived: m.Envelope.Arrived, Size: m.Envelope.Size, Sender: m.Envelope.Sender,
		}
		for _, r := range m.Envelope.Recipients {
			e.Recipients = append(e.Recipients, control.Recipient{Address: r.Address, Original: r.Original})
		}
		if len(e.Recipients) == 0 {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return a.Queue.List(ctx, yield)
}

// Change implements control.Queue. Of a message in the maildrop there is nothing to
// do but to delete it.
func (a *admin) Change(ctx context.Context, op control.Op, sel control.Selection, report func(mail.QueueID)) (int, error) {
	n := 0
	inDrop := len(sel.Queues) == 0 || slices.Contains(sel.Queues, dropQueue)
	if op == control.OpDelete && inDrop {
		var err error
		if n, err = a.discard(sel, report); err != nil {
			return n, err
		}
	}
	if len(sel.Queues) == 1 && inDrop {
		return n, nil
	}
	more, err := a.Queue.Change(ctx, op, sel, report)
	return n + more, err
}

// discard removes messages from the maildrop.
func (a *admin) discard(sel control.Selection, report func(mail.QueueID)) (int, error) {
	names, err := maildrop.List(a.dir, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	n := 0
	for _, name := range names {
		id := mail.QueueID(name)
		if !sel.All && !slices.Contains(sel.IDs, id) {
			continue
		}
		switch rmErr := os.Remove(maildrop.Path(a.dir, name)); {
		case errors.Is(rmErr, os.ErrNotExist):
		case rmErr != nil:
			return n, rmErr
		default:
			n++
			report(id)
		}
	}
	return n, err
}

// Cat implements control.Queue.
func (a *admin) Cat(ctx context.Context, id mail.QueueID) (*control.Message, error) {
	m, err := a.Queue.Cat(ctx, id)
	if !errors.Is(err, control.ErrNotFound) {
		return m, err
	}
	d, dropErr := maildrop.Peek(a.dir, string(id))
	if dropErr != nil {
		return nil, err
	}
	return &control.Message{Queue: dropQueue, Envelope: d.Envelope, Content: d.Content, Done: make([]bool, len(d.Envelope.Recipients))}, nil
}

// requeue returns what sends a message through cleanup again, for postsuper -r: it
// goes back to the maildrop. owner is the uid of the server, poke wakes pickup.
func requeue(dir string, owner int, poke func()) func(context.Context, *mail.Envelope, mail.Content) error {
	return func(_ context.Context, env *mail.Envelope, content mail.Content) error {
		if err := maildrop.Requeue(dir, env, content, owner); err != nil {
			return err
		}
		poke()
		return nil
	}
}
