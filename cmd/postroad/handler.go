package main

import (
	"context"
	"os"
	"os/user"
	"strconv"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/qmgr"
)

// handler answers the commands that ask the running server.
type handler struct{ s *server }

var _ control.Handler = (*handler)(nil)

// queue is the queue with its manager, or an error while it is not open.
func (h *handler) queue() (*admin, error) {
	store, m := h.s.door.store.Load(), h.s.manager.Load()
	if store == nil || m == nil {
		return nil, errNoStore
	}
	dir := h.s.dir
	return &admin{dir: dir, Queue: &qmgr.Admin{Store: store, Manager: m, Resubmit: requeue(dir, os.Geteuid(), h.s.pickup.Poke)}}, nil
}

// List implements control.Queue.
func (h *handler) List(ctx context.Context, yield func(*control.Entry) error) error {
	q, err := h.queue()
	if err != nil {
		return err
	}
	return q.List(ctx, yield)
}

// Change implements control.Queue.
func (h *handler) Change(ctx context.Context, op control.Op, sel control.Selection, report func(mail.QueueID)) (int, error) {
	q, err := h.queue()
	if err != nil {
		return 0, err
	}
	return q.Change(ctx, op, sel, report)
}

// Cat implements control.Queue.
func (h *handler) Cat(ctx context.Context, id mail.QueueID) (*control.Message, error) {
	q, err := h.queue()
	if err != nil {
		return nil, err
	}
	return q.Cat(ctx, id)
}

// Status implements control.Handler.
func (h *handler) Status(ctx context.Context) (control.Status, error) {
	st := control.Status{PID: os.Getpid(), Version: version(h.s.gen.Load()), Started: h.s.started, Messages: map[string]int{}}
	q, err := h.queue()
	if err != nil {
		return st, nil
	}
	err = q.List(ctx, func(e *control.Entry) error { st.Messages[e.Queue]++; return nil })
	return st, err
}

// Flush implements control.Handler.
func (h *handler) Flush(_ context.Context, f control.Flush) error {
	m := h.s.manager.Load()
	if m == nil {
		return errNoStore
	}
	switch {
	case f.ID != "":
		return m.FlushID(f.ID)
	case f.Site != "":
		if !h.s.gen.Load().mayFlush(f.Site) {
			return control.ErrNotEligible
		}
		return m.FlushSite(f.Site)
	}
	m.Flush()
	return nil
}

// Pickup implements control.Handler.
func (h *handler) Pickup(context.Context) error {
	h.s.pickup.Poke()
	return nil
}

// Reload implements control.Handler.
func (h *handler) Reload(ctx context.Context) error { return h.s.rt.Reload(ctx) }

// Stop implements control.Handler.
func (h *handler) Stop(context.Context) error {
	h.s.rt.Stop()
	return nil
}

// policy says who may use which command.
func (g *generation) policy() control.Policy {
	return control.Policy{
		Owner: os.Geteuid(),
		View:  g.userIn("authorized_mailq_users", g.settings.MailqUsers),
		Move:  g.userIn("authorized_flush_users", g.settings.FlushUsers),
	}
}

// userIn tells whether a user is in a list of users.
func (g *generation) userIn(param string, items []string) func(uid int) bool {
	list, err := g.tables.StringList(param, items)
	return func(uid int) bool {
		name := "unknown"
		if u, lookupErr := user.LookupId(strconv.Itoa(uid)); lookupErr == nil {
			name = u.Username
		}
		if err != nil {
			return false
		}
		ok, matchErr := list.Match(context.Background(), name)
		return ok && matchErr == nil
	}
}

// mayFlush tells whether mail for a domain may be asked for.
func (g *generation) mayFlush(domain string) bool {
	list, err := g.tables.DomainList("fast_flush_domains", g.settings.FlushDomains, true)
	if err != nil {
		return false
	}
	ok, err := list.Match(context.Background(), domain)
	return ok && err == nil
}

func version(g *generation) string {
	v, err := g.cfg.View(nil).Value("mail_version")
	if err != nil {
		return ""
	}
	return v
}
