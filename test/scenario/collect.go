package scenario

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"postroad/internal/testkit"
)

// collect ends the play: what was delivered where, and the log.
func (p *stage) collect(ctx context.Context) (*Raw, error) {
	wait, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	if p.running {
		if err := p.settle(wait); err != nil {
			return nil, err
		}
	}
	for _, root := range []string{"/home", "/var/mail", "/srv"} {
		if err := p.mailboxes(root); err != nil {
			return nil, err
		}
	}
	for _, addr := range p.order {
		for i, m := range p.sinks[addr].Messages() {
			p.say("")
			p.say("== sink %s message %d", addr, i+1)
			p.say("client %s helo %s tls %v", m.Client, m.Helo, m.TLS)
			p.say("mail %s", m.Mail)
			for _, r := range m.Rcpts {
				p.say("rcpt %s", r)
			}
			p.text(m.Data)
		}
	}
	log, err := p.Log()
	if err != nil {
		return nil, err
	}
	return &Raw{Steps: p.out, Log: log}, nil
}

// text records the lines of a message, with its line ends made visible where
// they are not the usual ones.
func (p *stage) text(s string) {
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		line = strings.TrimSuffix(line, "\r")
		p.say("| %s", strings.ReplaceAll(line, "\r", "<CR>"))
	}
}

// delivered is a message in a mailbox, for sorting.
type delivered struct {
	where, text string
	when        time.Time
}

// mailboxes records every message in files below root: one a file in new and
// cur of a Maildir, whole files elsewhere.
func (p *stage) mailboxes(root string) error {
	var all []delivered
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.HasSuffix(path, ".sock") || strings.Contains(path, "/.forward") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		where := path
		if dir := filepath.Dir(path); filepath.Base(dir) == "new" || filepath.Base(dir) == "cur" || filepath.Base(dir) == "tmp" {
			where = dir
		}
		owner, err := ownerOf(fi)
		if err != nil {
			return err
		}
		where += fmt.Sprintf(" mode %o owner %s", fi.Mode().Perm(), owner)
		all = append(all, delivered{where: where, text: string(text), when: fi.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].where != all[j].where {
			return all[i].where < all[j].where
		}
		return all[i].when.Before(all[j].when)
	})
	for _, d := range all {
		p.say("")
		p.say("== mailbox %s", d.where)
		p.text(d.text)
	}
	return nil
}

// Transcript is a play with everything hidden that may vary.
func (r *Raw) Transcript() []string {
	m := testkit.NewMunger()
	for _, line := range r.Log {
		m.Learn(line)
	}
	for _, line := range r.Steps {
		if _, reply, ok := strings.Cut(line, "< "); ok {
			m.Learn(reply)
		}
		m.Learn(line)
	}
	var out []string
	for _, line := range r.Steps {
		out = append(out, m.Line(line))
	}
	out = sortListings(out)
	out = append(out, "", "== log")
	return append(out, arrange(r.Log, m)...)
}
