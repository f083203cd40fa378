package main

import (
	"context"
	"strings"
	"time"

	"postroad/internal/access"
	"postroad/internal/cleanup"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/verify"
)

// factStore keeps what verify(8) knows beside the mail in the queue.
type factStore struct{ door *storeDoor }

// facts are the records of verify(8), or an error while the queue is not open.
func (f factStore) facts() (queue.Facts, error) {
	s := f.door.store.Load()
	if s == nil {
		return queue.Facts{}, errNoStore
	}
	return s.Facts("verify"), nil
}

// Get implements verify.Store.
func (f factStore) Get(key string) (string, bool, error) {
	facts, err := f.facts()
	if err != nil {
		return "", false, err
	}
	return facts.Get(key)
}

// Put implements verify.Store.
func (f factStore) Put(key, value string) error {
	facts, err := f.facts()
	if err != nil {
		return err
	}
	return facts.Put(key, value)
}

// Delete implements verify.Store.
func (f factStore) Delete(key string) error {
	facts, err := f.facts()
	if err != nil {
		return err
	}
	return facts.Delete(key)
}

// Each implements verify.Store.
func (f factStore) Each(yield func(key, value string) bool) error {
	facts, err := f.facts()
	if err != nil {
		return err
	}
	return facts.Each(yield)
}

// readVerify reads what verify(8) is set up with; the generation keeps it until it
// comes into force.
func (b *builder) readVerify(gen *generation, view *postconf.View, log *event.Logger) {
	set := &verify.Setup{Post: gen.probe, Log: log}
	b.note(view.Decode(&set.Settings))
	if typ, _ := table.SplitSpec(strings.TrimPrefix(set.Map, "proxy:")); typ == "memcache" {
		log.Warnf("%s: what is known about addresses is kept beside the queue, and other servers do not see it", set.Map)
	}
	set.From = verify.Sender{Address: mail.Address(set.Sender), TTL: set.SenderTTL}
	switch {
	case set.Sender == "<>":
		set.From.Address = ""
	case strings.HasPrefix(set.Sender, "@") || strings.HasSuffix(set.Sender, "@"):
		b.note([]postconf.Problem{{Fatal: true, Text: "parameter address_verify_sender: value \"" + set.Sender + "\" must not start or end with '@'"}})
	case set.Sender != "":
		set.From.Address = gen.rewrite.Rewrite(rewrite.Local, set.Sender)
	}
	gen.verify = set
}

// probe posts a message that finds out whether an address can be delivered to.
func (g *generation) probe(ctx context.Context, sender, rcpt mail.Address) error {
	_, err := g.submit(ctx, &submission{
		sender: sender, rcpts: []mail.Recipient{{Address: rcpt, Original: rcpt}}, content: strings.NewReader(""),
		options: cleanup.Options{
			Origin: mail.OriginInternal, Context: rewrite.Local, Facts: mail.ClientFacts{UID: -1}, Verify: true,
		},
		headers: []string{"Received: by " + g.rewrite.Myhostname() + " (" + g.settings.MailName + "); " + time.Now().Format(time.RFC1123Z)},
	})
	return err
}

// verifier is what the SMTP service of a view asks about addresses; nil when
// master.cf has no such service.
func (s *server) verifier(gen *generation, view *postconf.View) access.Verifier {
	name, err := view.Value("address_verify_service_name")
	if err != nil {
		return nil
	}
	svc := gen.cfg.Service(name, "unix")
	if svc == nil || svc.Program() != "verify" {
		return nil
	}
	return s.verify
}
