package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"postroad/internal/bounce"
	"postroad/internal/sys"
)

// maxTemplates bounds a file of bounce templates.
const maxTemplates = 1 << 20

// showTemplates writes the templates of reports: -t as they are, -b with their
// $names filled in. An argument takes the place of bounce_template_file.
func (p *postconfCmd) showTemplates() error {
	if err := p.load(); err != nil {
		return err
	}
	view := p.cfg.View(nil)
	file, err := view.Value("bounce_template_file")
	if err != nil {
		return err
	}
	if len(p.args) > 0 {
		file = p.args[0]
	}
	// These are the words of the server that writes the reports.
	warn := func(format string, args ...any) {
		fmt.Fprintf(p.Stderr, "postfix/bounce: warning: "+format+"\n", args...)
	}
	t, err := bounce.ReadTemplates(view, file, readTemplates, warn)
	if err == nil && p.expanded {
		err = t.DumpText(p.Stdout, warn)
	} else if err == nil {
		t.Dump(p.Stdout)
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "postfix/bounce: fatal: %v\n", err)
		return errReported
	}
	return nil
}

// readTemplates reads a file; its error has the words of the system.
func readTemplates(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.New("open " + name + ": " + sys.Reason(err))
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxTemplates))
}
