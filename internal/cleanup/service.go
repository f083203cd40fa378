package cleanup

import (
	"context"
	"slices"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// Writer takes the content of one message and makes it durable.
type Writer interface {
	// ID is the queue id of the message.
	ID() mail.QueueID
	// Write appends content.
	Write(p []byte) (int, error)
	// Size is the number of bytes written.
	Size() int64
	// Commit makes the message durable; it sets ID and Size of the envelope.
	Commit(ctx context.Context, env *mail.Envelope) error
	// Abort drops the message; after Commit it does nothing.
	Abort()
}

// Spool is where messages go: the queue.
type Spool interface {
	// Begin starts a message.
	Begin() (Writer, error)
}

// Queue makes a Spool of the queue's store.
func Queue(s *queue.Store) Spool { return store{s} }

type store struct{ s *queue.Store }

func (q store) Begin() (Writer, error) {
	w, err := q.s.Begin()
	if err != nil {
		return nil, err // a nil *queue.Writer must not become a Writer
	}
	return w, nil
}

// Deps are the rooms that cleanup stands on.
type Deps struct {
	Tables  *table.Set
	Rewrite *rewrite.Engine
	Spool   Spool
	// Log speaks as cleanup(8).
	Log *event.Logger
	// Expanded reports to the sender that these recipients, who asked for a
	// report of success, were replaced by what virtual_alias_maps say (RFC 3461
	// 5.2.7). It is called after the commit; header is the header of the message,
	// or nothing. Without it, the members inherit the wish for a report.
	Expanded func(ctx context.Context, env *mail.Envelope, header mail.Content, rcpts []mail.Recipient)
	// Verified takes the answer to a probe that ends here: an alias of several
	// recipients. Without it such a probe is dropped.
	Verified func(rcpt mail.Recipient, text string)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service is cleanup(8) for one generation of the configuration. Any number of
// goroutines may begin messages.
type Service struct {
	set  Settings
	deps Deps

	senderCanonical, recipientCanonical, canonical mapping
	virtual, senderBcc, recipientBcc               *table.Maps
	propagateCanonical, propagateVirtual           bool
	masq                                           masquerade

	headerChecks, mimeChecks, nestedChecks, bodyChecks *table.Maps
	drop                                               map[string]bool
	strip, reject                                      []byte
	// wantMIME tells that the structure of the body matters.
	wantMIME bool
	// autoUTF8 is smtputf8_autodetect_classes for the sendmail command.
	autoUTF8 bool
	search   table.AddressSearch
	filters  filterLists
}

// class says where an address stands.
type class uint8

const (
	envelopeSender class = 1 << iota
	envelopeRecipient
	headerSender
	headerRecipient
)

// classNames are the words of canonical_classes and its siblings.
var classNames = map[string]class{
	"envelope_sender": envelopeSender, "envelope_recipient": envelopeRecipient,
	"header_sender": headerSender, "header_recipient": headerRecipient,
}

// mapping is a canonical map and the classes that it is for.
type mapping struct {
	maps    *table.Maps
	classes class
}

// masquerade is masquerade_domains and its exceptions.
type masquerade struct {
	domains    []string
	exceptions *table.MatchList
	classes    class
}

// New returns the Service for a configuration. It works as well as it can even
// when there are problems.
func New(cfg *postconf.View, deps Deps) (*Service, []postconf.Problem) {
	s := &Service{deps: deps}
	if s.deps.Now == nil {
		s.deps.Now = time.Now
	}
	b := builder{s: s}
	b.problems = cfg.Decode(&s.set)
	b.build()
	b.filters(cfg)
	return s, b.problems
}

// builder collects the problems of making a Service.
type builder struct {
	s        *Service
	problems []postconf.Problem
}

func (b *builder) build() {
	s, set := b.s, &b.s.set
	s.senderCanonical = mapping{b.maps("sender_canonical_maps", set.SenderCanonical),
		b.classes("sender_canonical_classes", set.SenderClasses)}
	s.recipientCanonical = mapping{b.maps("recipient_canonical_maps", set.RecipientCanonical),
		b.classes("recipient_canonical_classes", set.RecipientClasses)}
	s.canonical = mapping{b.maps("canonical_maps", set.CanonicalMaps),
		b.classes("canonical_classes", set.CanonicalClasses)}
	s.virtual = b.maps("virtual_alias_maps", set.VirtualMaps)
	s.senderBcc = b.maps("sender_bcc_maps", set.SenderBcc)
	s.recipientBcc = b.maps("recipient_bcc_maps", set.RecipientBcc)
	s.headerChecks = b.maps("header_checks", set.HeaderChecks)
	s.mimeChecks = b.maps("mime_header_checks", set.MIMEChecks)
	s.nestedChecks = b.maps("nested_header_checks", set.NestedChecks)
	s.bodyChecks = b.maps("body_checks", set.BodyChecks)
	s.propagateCanonical = slices.Contains(set.Propagate, "canonical")
	s.propagateVirtual = slices.Contains(set.Propagate, "virtual")
	s.search = b.s.deps.Rewrite.AddressSearch()
	exceptions, err := s.deps.Tables.StringList("masquerade_exceptions", set.MasqExceptions)
	b.check("masquerade_exceptions", err)
	s.masq = masquerade{domains: set.MasqDomains, exceptions: exceptions,
		classes: b.classes("masquerade_classes", set.MasqClasses)}
	s.drop = map[string]bool{}
	for _, name := range set.DropHeaders {
		s.drop[strings.ToLower(name)] = true
	}
	s.autoUTF8 = set.SMTPUTF8 && (slices.Contains(set.Autodetect, "sendmail") || slices.Contains(set.Autodetect, "all"))
	s.strip = postconf.Unescape(set.StripCharacters)
	s.reject = postconf.Unescape(set.RejectChars)
	if !slices.Contains([]string{fixQuietly, addMIMEError, rejectAbrupt}, set.NonEmptyEnd) {
		b.problem("non_empty_end_of_header_action", "bad non_empty_end_of_header_action value: '"+set.NonEmptyEnd+"'")
	}
	checks := s.checks()
	strict := set.Strict7Bit || set.Strict8Bit || set.StrictBody || set.StrictDomain
	s.wantMIME = checks || strict
}

func (b *builder) maps(param string, specs []string) *table.Maps {
	m, err := b.s.deps.Tables.Maps(param, specs)
	b.check(param, err)
	return m
}

func (b *builder) classes(param string, words []string) class {
	var out class
	for _, w := range words {
		c, ok := classNames[w]
		if !ok {
			b.problem(param, "bad parameter value syntax for "+param+": "+w)
		}
		out |= c
	}
	return out
}

func (b *builder) check(param string, err error) {
	if err != nil {
		b.problem(param, err.Error())
	}
}

func (b *builder) problem(param, text string) {
	b.problems = append(b.problems, postconf.Problem{
		Fatal: true, Origin: postconf.Origin{File: param}, Text: text,
	})
}

// checks tells whether content is looked at at all.
func (s *Service) checks() bool {
	return !s.headerChecks.Empty() || !s.mimeChecks.Empty() || !s.nestedChecks.Empty() || !s.bodyChecks.Empty()
}
