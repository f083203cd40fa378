package scenario

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

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
		for _, m := range p.sinks[addr].Messages() {
			head := fmt.Sprintf("client %s helo %s tls %v\nmail %s\n", m.Client, m.Helo, m.TLS, m.Mail)
			for _, r := range m.Rcpts {
				head += "rcpt " + r + "\n"
			}
			p.mail = append(p.mail, Delivered{Where: "sink " + addr, Text: head + quote(m.Data)})
		}
	}
	log, err := p.Log()
	if err != nil {
		return nil, err
	}
	return &Raw{Steps: p.out, Mail: p.mail, Log: log}, nil
}

// quote shows a message: each line behind a bar, with line ends made visible
// where they are not the usual ones.
func quote(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		line = strings.TrimSuffix(line, "\r")
		b.WriteString("| " + strings.ReplaceAll(line, "\r", "<CR>") + "\n")
	}
	return b.String()
}

// mailboxes records every message in files below root: one a file in new and
// cur of a Maildir, whole files elsewhere.
func (p *stage) mailboxes(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
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
		p.mail = append(p.mail, Delivered{Where: "mailbox " + where, Text: quote(string(text))})
		return nil
	})
}

// advice is what Postfix says to an administrator whose compatibility_level is
// lower than the program's.
var advice = regexp.MustCompile(`^stderr: postfix: .*(?:backwards-compatible|COMPATIBILITY_README|backwards compatibility)`)

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
		if !advice.MatchString(line) {
			out = append(out, m.Line(line))
		}
	}
	out = sortListings(out)
	out = append(out, arrangeMail(r.Mail, m)...)
	out = append(out, "", "== log")
	return append(out, arrange(r.Log, m)...)
}
