package check

import (
	"cmp"
	"slices"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// Severity tells how bad a finding is.
type Severity string

// The severities, worst first.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Finding is one thing that was found.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code names the kind of finding; it does not change between releases.
	Code string `json:"code"`
	// File and Line are where it stands; Line is 0 when it stands nowhere.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Parameter is the name of the setting that it is about, when there is one.
	Parameter string `json:"parameter,omitempty"`
	Text      string `json:"text"`
	// Suggestion is what to do instead.
	Suggestion string `json:"suggestion,omitempty"`
}

// maxFindings bounds a report.
const maxFindings = 10000

// run is one examination.
type run struct {
	cfg   *postconf.Config
	main  *postconf.View
	found []Finding
}

// rows are the examinations in the order of their findings.
var rows = []struct {
	code string
	do   func(*run, string)
}{
	{"table", (*run).tables},
	{"table-settings", (*run).tableSettings},
	{"shared-cache", (*run).sharedCaches},
	{"secret", (*run).secrets},
	{"collision", (*run).collisions},
	{"unused", (*run).unused},
	{"domain-twice", (*run).domains},
	{"open-relay", (*run).openRelay},
	{"chroot", (*run).chroots},
	{"habit", (*run).habits},
}

// Run examines a configuration. problems are what loading it and building the
// server from it reported.
func Run(cfg *postconf.Config, problems []postconf.Problem) []Finding {
	r := &run{cfg: cfg, main: cfg.View(nil)}
	for _, p := range postconf.Unique(append(problems, cfg.Check()...)) {
		f := Finding{Severity: Warning, Code: "configuration", File: p.File, Line: p.Line, Text: p.Text, Suggestion: p.Suggestion}
		switch {
		case p.Fatal:
			f.Severity = Error
		case p.Note:
			f.Severity = Note
		}
		r.found = append(r.found, f)
	}
	for _, row := range rows {
		row.do(r, row.code)
	}
	order := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	slices.SortStableFunc(r.found, func(a, b Finding) int { return cmp.Compare(order[a.Severity], order[b.Severity]) })
	return r.found
}

// add notes a finding about a setting.
func (r *run) add(sev Severity, code string, at setting, text, suggestion string) {
	if len(r.found) >= maxFindings {
		return
	}
	f := Finding{
		Severity: sev, Code: code, File: at.origin.File, Line: at.origin.Line, Parameter: at.name, Text: text, Suggestion: suggestion,
	}
	if !slices.Contains(r.found, f) {
		r.found = append(r.found, f)
	}
}

// setting is a value that the site has set.
type setting struct {
	name, value string
	origin      postconf.Origin
	// view is that of the service which sets it, or of main.cf.
	view *postconf.View
}

// settings returns everything that main.cf and the active services set, expanded.
// What does not expand has been reported before.
func (r *run) settings() []setting {
	var out []setting
	for _, name := range r.cfg.Main.Names() {
		set, ok := r.cfg.Main.Lookup(name)
		if !ok {
			continue
		}
		if value, err := r.main.Value(name); err == nil {
			out = append(out, setting{name, value, set.Origin, r.main})
		}
	}
	for _, svc := range r.cfg.Active() {
		v := r.cfg.View(svc)
		for _, o := range svc.Overrides {
			if value, err := v.Value(o.Name); err == nil {
				out = append(out, setting{o.Name, value, svc.Origin, v})
			}
		}
	}
	return out
}

// value is an expanded parameter of main.cf; one that does not expand is empty.
func (r *run) value(name string) string {
	value, err := r.main.Value(name)
	if err != nil {
		return ""
	}
	return value
}

// origin is where a parameter is set in main.cf.
func (r *run) at(name string) setting {
	s := setting{name: name, value: r.value(name), view: r.main}
	if set, ok := r.cfg.Main.Lookup(name); ok {
		s.origin = set.Origin
	}
	return s
}

// options are those with which the server opens tables.
func (r *run) options() table.Options {
	return table.Options{QueueDir: r.value("queue_directory"), DefaultType: r.value("default_database_type"),
		Param: r.main.Setting, Warn: func(string, ...any) {}}
}
