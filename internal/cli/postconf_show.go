package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// load reads the files that the options need.
func (p *postconfCmd) load() error {
	opt := postconf.LoadOptions{
		Overrides: p.overrides, Process: "postconf", Quiet: true,
		WithoutMain: p.mode&pcDefaults != 0,
	}
	cfg, problems := postconf.Load(p.dir, opt)
	p.cfg = cfg
	if p.mode&pcMain == 0 {
		// Postfix reads master.cf first then.
		ofMain := func(problem postconf.Problem) int {
			if problem.File == cfg.MasterFile || isMissing(problem, cfg.MasterFile) {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(problems, func(a, b postconf.Problem) int { return ofMain(a) - ofMain(b) })
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Text, "malformed compatibility level") {
			if !p.readsLevel() {
				continue
			}
			p.Warnf("%s", problem.Text)
			return errors.New("macro processing error")
		}
		// The parameters are shown without master.cf too.
		noMaster := isMissing(problem, cfg.MasterFile)
		if problem.Fatal && isSyntax(problem) && (!noMaster || p.mode&pcMain == 0) {
			return errors.New(fatalText(cfg, problem))
		}
		switch {
		case problem.Fatal && !noMaster, strings.HasPrefix(problem.Text, "duplicate master.cf entry"):
			continue // of interest to the mail system only
		case strings.HasPrefix(problem.Text, "logical line"):
			problem.Line = 0 // as Postfix words it
		}
		p.Warnf("%s", problem.Error())
	}
	p.usage = cfg.Usage(nil)
	if p.mode&pcDefaults != 0 {
		return nil
	}
	for _, w := range p.usage.Warnings() {
		if !isLate(w) {
			p.Warnf("%s: %s", w.File, w.Text)
		}
	}
	for _, problem := range p.usage.Errors() {
		p.Warnf("%s", problem.Error())
	}
	if len(p.usage.Errors()) > 0 {
		return errors.New("macro processing error")
	}
	for _, problem := range p.usage.ClientFiles() {
		if problem.Fatal {
			return errors.New(problem.Error())
		}
		p.Warnf("%s", problem.Error())
	}
	return nil
}

// isMissing reports whether a problem is that a file cannot be opened.
func isMissing(problem postconf.Problem, file string) bool {
	return problem.File == "" && strings.HasPrefix(problem.Text, "open "+file+":")
}

// readsLevel tells whether compatibility_level counts for what is shown: for expanded
// values, and for the default of mynetworks, which is computed before all others.
func (p *postconfCmd) readsLevel() bool {
	v := p.cfg.View(nil)
	_, _, networks := v.Raw("mynetworks")
	_, _, style := v.Raw("mynetworks_style")
	return p.mode&pcExpand != 0 || !networks && !style
}

// isSyntax reports whether postconf itself stops at a problem: it shows values
// that no daemon would accept, but not files that cannot be read.
func isSyntax(problem postconf.Problem) bool {
	for _, text := range []string{"inet service cannot be private", " in the value of "} {
		if strings.Contains(problem.Text, text) {
			return false
		}
	}
	return true
}

// fatalText returns the message for a problem in a file.
func fatalText(cfg *postconf.Config, problem postconf.Problem) string {
	problem.Text = strings.TrimSuffix(problem.Text, " in "+strings.TrimPrefix(problem.Text, "bad field count in "))
	if problem.File == cfg.MasterFile && !strings.HasPrefix(problem.Text, "invalid ") {
		return fmt.Sprintf("file %s: line %d: %s", problem.File, problem.Line, problem.Text)
	}
	return problem.Error()
}

// isOutOfDate tells whether a remark is about a name that Postfix will drop.
func isOutOfDate(w postconf.Problem) bool { return strings.HasPrefix(w.Text, "support for parameter") }

// isLate tells whether a remark comes after what was asked for; others come before
// it, since they are about reading the configuration.
func isLate(w postconf.Problem) bool {
	return isOutOfDate(w) || strings.HasPrefix(w.Text, "unused parameter")
}

// showWarnings writes what is wrong with the names. With -q, and for main.cf when
// only master.cf is shown, it leaves out those that are unused or out of date.
func (p *postconfCmd) showWarnings() {
	if p.mode&pcDefaults != 0 {
		return
	}
	old := false
	for _, w := range p.usage.Warnings() {
		if !isLate(w) || p.mode&pcQuiet != 0 || p.mode&pcMain == 0 && filepath.Base(w.File) != "master.cf" {
			continue
		}
		text := w.Text
		if w.Suggestion != "" {
			text += "; " + w.Suggestion
		}
		p.Warnf("%s: %s", w.File, text)
		old = old || isOutOfDate(w)
	}
	if old {
		p.Warnf("See https://www.postfix.org/DEPRECATION_README.html for details")
	}
}

// showMain shows parameters of main.cf.
func (p *postconfCmd) showMain() error {
	names := p.args
	if len(names) == 0 {
		names = p.usage.Names(p.classes)
		if p.mode&pcDefaults != 0 {
			names = p.usage.Names(p.classes &^ postconf.User)
		}
	}
	for _, name := range names {
		if len(p.args) > 0 && p.usage.Class(name) == 0 && !postconf.Legacy(name) {
			p.Warnf("%s: unknown parameter", name)
			continue
		}
		if err := p.showParam(name); err != nil {
			return err
		}
	}
	return nil
}

// showParam shows one parameter of main.cf.
func (p *postconfCmd) showParam(name string) error {
	v := p.cfg.View(nil)
	value, _, set := v.Raw(name)
	if p.mode&pcNonDefault != 0 && !set {
		return nil
	}
	if p.mode&pcExpand != 0 {
		var err error
		if value, err = v.Value(name); err != nil {
			return expandError(err)
		}
	}
	p.print(name, value)
	return nil
}

// print shows a name and its value as the options want it.
func (p *postconfCmd) print(name, value string) {
	switch {
	case p.mode&pcHideValue != 0:
		p.Printf("%s\n", name)
	case p.mode&pcJSON != 0:
		p.Printf("{%s: %s}\n", postconf.QuoteJSON(name), postconf.QuoteJSON(value))
	case p.mode&pcHideName != 0:
		p.Printf("%s\n", postconf.FormatLine(value, p.mode&pcFold != 0))
	default:
		p.Printf("%s\n", postconf.FormatLine(name+" = "+value, p.mode&pcFold != 0))
	}
}

// expandError returns the error for an expression that cannot be expanded; Postfix
// warns about the expression first, and then says only this.
func expandError(err error) error { return fmt.Errorf("macro processing error: %w", err) }

// expander returns the function that -x applies to the "-o" values of a service,
// or nil.
func (p *postconfCmd) expander(s *postconf.Service) func(string) (string, error) {
	if p.mode&pcExpand == 0 {
		return nil
	}
	return func(text string) (string, error) {
		text, err := p.cfg.View(s).Expand(text)
		if err != nil {
			return "", expandError(err)
		}
		return text, nil
	}
}

// pcRequest is an argument that chooses services.
type pcRequest struct {
	text  string
	parts []string
	count int
}

// requests reads the arguments; without any, everything is wanted.
func (p *postconfCmd) requests(most int, message string) ([]pcRequest, error) {
	var out []pcRequest
	for _, arg := range p.args {
		parts, ok := postconf.ParseServicePattern(arg, 1, most)
		if !ok {
			return nil, errors.New(message)
		}
		if p.mode&pcField != 0 {
			if _, err := postconf.ParseField(parts[2]); err != nil {
				return nil, err
			}
		}
		out = append(out, pcRequest{text: arg, parts: parts})
	}
	return out, nil
}

// matches reports whether the request is about the service.
func (r *pcRequest) matches(s *postconf.Service) bool {
	return (r.parts[0] == "*" || r.parts[0] == s.Name) && (r.parts[1] == "*" || r.parts[1] == s.Type)
}

// eachService calls show for each service and each request about it. show returns
// false when the request found nothing in the service.
func (p *postconfCmd) eachService(requests []pcRequest, show func(*postconf.Service, *pcRequest) (bool, error)) error {
	all := []pcRequest{{parts: []string{"*", "*", "*"}}}
	given := len(requests) > 0
	if given {
		all = requests
	}
	for _, s := range p.cfg.Services {
		for i := range all {
			if !all[i].matches(s) {
				continue
			}
			hit, err := show(s, &all[i])
			if err != nil {
				return err
			}
			if hit {
				all[i].count++
			}
		}
	}
	for i := range requests {
		if requests[i].count == 0 {
			p.Warnf("unmatched request: \"%s\"", requests[i].text)
		}
	}
	return nil
}

// showEntries shows entries of master.cf.
func (p *postconfCmd) showEntries() error {
	requests, err := p.requests(2, "-M option requires service_name[/type]")
	if err != nil {
		return err
	}
	return p.eachService(requests, func(s *postconf.Service, _ *pcRequest) (bool, error) {
		if p.mode&pcJSON != 0 {
			line, err := s.CommandLine(0, p.expander(s))
			p.printIf(err, "{%s: %s}\n", postconf.QuoteJSON(s.ID()), postconf.QuoteJSON(line))
			return true, err
		}
		line, err := s.Format(p.mode&pcFold != 0, p.expander(s))
		p.printIf(err, "%s\n", line)
		return true, err
	})
}

// printIf prints when there was no error.
func (p *postconfCmd) printIf(err error, format string, args ...any) {
	if err == nil {
		p.Printf(format, args...)
	}
}

// showFields shows columns of master.cf.
func (p *postconfCmd) showFields() error {
	requests, err := p.requests(3, "-F option requires service_name[/type[/field]]")
	if err != nil {
		return err
	}
	return p.eachService(requests, func(s *postconf.Service, r *pcRequest) (bool, error) {
		for i, name := range postconf.FieldNames() {
			if r.parts[2] != "*" && r.parts[2] != name {
				continue
			}
			if err := p.showField(s, i, name); err != nil {
				return true, err
			}
		}
		return true, nil
	})
}

// showField shows one column.
func (p *postconfCmd) showField(s *postconf.Service, field int, name string) error {
	full := s.ID() + "/" + name
	if p.mode&pcHideValue != 0 {
		p.Printf("%s\n", full)
		return nil
	}
	if p.mode&pcJSON != 0 {
		value := s.Column(field)
		var err error
		if name == "command" {
			value, err = s.CommandLine(field, p.expander(s))
		}
		p.printIf(err, "{%s: %s}\n", postconf.QuoteJSON(full), postconf.QuoteJSON(value))
		return err
	}
	prefix := full + " = "
	if p.mode&pcHideName != 0 {
		prefix = ""
	}
	line, err := s.FormatColumn(prefix, field, p.mode&pcFold != 0, p.expander(s))
	p.printIf(err, "%s\n", line)
	return err
}

// showParams shows the "-o" settings of master.cf.
func (p *postconfCmd) showParams() error {
	requests, err := p.requests(3, "-P option requires service_name[/type[/parameter]]")
	if err != nil {
		return err
	}
	return p.eachService(requests, func(s *postconf.Service, r *pcRequest) (bool, error) {
		settings := p.cfg.Namespace(s)
		if p.mode&pcInherited != 0 {
			settings = p.inherited(s, settings)
		}
		hit := false
		expand := p.expander(s)
		for _, o := range settings {
			if r.parts[2] != "*" && r.parts[2] != o.Name {
				continue
			}
			hit = true
			if expand != nil {
				if o.Value, err = expand(o.Value); err != nil {
					return hit, err
				}
			}
			p.print(s.ID()+"/"+o.Name, o.Value)
		}
		return hit || r.parts[2] == "*" && len(settings) > 0, nil
	})
}

// inherited adds to the settings of a service the parameters that it takes from
// main.cf or from the defaults.
func (p *postconfCmd) inherited(s *postconf.Service, own []postconf.Override) []postconf.Override {
	byName := map[string]string{}
	names := p.usage.Names(p.classes)
	v := p.cfg.View(s)
	for _, name := range names {
		byName[name], _, _ = v.Raw(name)
	}
	for _, o := range own {
		if _, ok := byName[o.Name]; !ok {
			names = append(names, o.Name)
		}
		byName[o.Name] = o.Value
	}
	return sortedOverrides(names, byName)
}

// showMaps shows the types of lookup tables.
func (p *postconfCmd) showMaps() error {
	for _, name := range table.Types() {
		p.Printf("%s\n", name)
	}
	return nil
}

// showTLS shows facts about the TLS library.
func (p *postconfCmd) showTLS() error {
	switch p.tls {
	case "compile-version", "run-version":
		p.Printf("%s crypto/tls\n", runtime.Version())
	case "public-key-algorithms":
		p.Printf("ecdsa\nrsa\n")
	default:
		p.Warnf("unknown 'postconf -T' mode: %s", p.tls)
		return errReported
	}
	return nil
}
