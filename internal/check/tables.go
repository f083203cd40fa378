package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// notTables are parameters whose values look like tables and are none: sockets,
// policies and expressions.
var notTables = []string{"milter", "_transport", "_service", "_socket", "_server", "content_filter", "_macros", "_banner", "_command", "proxy_read_maps", "proxy_write_maps", "_cache_database", "_cache_map", "address_verify_map"}

// tables opens every table that is named somewhere, and asks those that another
// program answers.
func (r *run) tables(code string) {
	opened := map[string]bool{}
	var list []*asked
	for _, s := range r.settings() {
		if looksOtherwise(s.name) {
			continue
		}
		r.unknownTypes(code, s)
		for _, spec := range specs(s.value) {
			if opened[spec] {
				continue
			}
			opened[spec] = true
			t, err := table.Open(spec, r.options())
			if err != nil {
				r.add(Warning, code, s, "table "+clip(spec)+": "+err.Error(), "mail that needs it is deferred until it can be opened")
				continue
			}
			if hasPeer(spec) {
				list = append(list, &asked{setting: s, spec: spec, table: t})
				continue
			}
			_ = t.Close() // nothing was written
		}
	}
	r.probe(code, list)
}

// Bounds of asking the tables that another program answers.
const (
	probeTime = 5 * time.Second
	maxProbes = 16
	// probeKey is a key that no table has.
	probeKey = "postroad-check@nobody.invalid"
)

// peers are the types whose tables another program answers, or a file that is not
// read when the table is opened. Opening one says nothing about it.
var peers = []string{"ldap", "memcache", "mysql", "pgsql", "sqlite", "socketmap", "tcp"}

// asked is a table and where it stands.
type asked struct {
	setting
	spec  string
	table table.Table
	err   error
}

// caches are parameters that name a store which Postfix writes to, and what takes
// its place here.
var caches = []struct{ name, ours string }{
	{"postscreen_cache_map", "the clients that passed are remembered in the memory of this server"},
	{"address_verify_map", "what is known about addresses is kept beside the queue of this server"},
}

// sharedCaches finds caches in a store that several servers can share.
func (r *run) sharedCaches(code string) {
	for _, s := range r.settings() {
		for _, c := range caches {
			if typ, _, _ := strings.Cut(strings.TrimPrefix(s.value, "proxy:"), ":"); s.name == c.name && typ == "memcache" {
				r.add(Warning, code, s, s.name+" = "+clip(s.value)+": "+c.ours+", and others do not see it", "a file, or nothing; each server tests for itself")
			}
		}
	}
}

// hasPeer tells whether a table is to be asked.
func hasPeer(spec string) bool {
	typ, _, _ := strings.Cut(strings.TrimPrefix(spec, "proxy:"), ":")
	return slices.Contains(peers, typ)
}

// probe asks tables for a key that none of them has, all at a time: a database that
// is away, a login that it refuses and a query that it does not understand show.
func (r *run) probe(code string, list []*asked) {
	var all sync.WaitGroup
	slots := make(chan struct{}, maxProbes)
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	for _, a := range list {
		slots <- struct{}{}
		// goroutine: ends with its lookup, which ends with ctx.
		all.Go(func() {
			_, _, a.err = a.table.Lookup(ctx, probeKey)
			<-slots
		})
	}
	all.Wait()
	for _, a := range list {
		_ = a.table.Close() // nothing was written
		if a.err != nil {
			r.add(Warning, code, a.setting, "table "+clip(a.spec)+" does not answer: "+a.err.Error(), "mail that needs it is deferred until it does")
		}
	}
}

// Places returns where a configuration names a table, as "file, line N"; it returns
// nothing for one that stands nowhere. The configuration is searched when somebody
// asks for the first time.
func Places(cfg *postconf.Config) func(spec string) string {
	all := sync.OnceValue(func() map[string]string {
		r := &run{cfg: cfg, main: cfg.View(nil)}
		places := map[string]string{}
		for _, s := range r.settings() {
			for _, spec := range postconf.SplitList(s.value) {
				spec = strings.TrimPrefix(spec, "!")
				if _, known := places[spec]; !known && s.origin.Line > 0 && strings.Contains(spec, ":") {
					places[spec] = fmt.Sprintf("%s, line %d", s.origin.File, s.origin.Line)
				}
			}
		}
		return places
	})
	return func(spec string) string { return all()[spec] }
}

// tableLists end the names of parameters that hold tables and nothing else.
var tableLists = []string{"_maps", "_checks", "alias_database"}

// unknownTypes finds tables of a type that nobody knows, where there can be no
// other words with a colon.
func (r *run) unknownTypes(code string, s setting) {
	if !slices.ContainsFunc(tableLists, func(end string) bool { return strings.HasSuffix(s.name, end) }) {
		return
	}
	for _, item := range postconf.SplitList(s.value) {
		typ, _, ok := strings.Cut(item, ":")
		if _, known := table.FindType(typ); ok && !known && typ != "" && !strings.ContainsAny(typ, "/{") {
			r.add(Error, code, s, "table "+clip(item)+": unsupported dictionary type: "+clip(typ), "\"postconf -m\" lists the types")
		}
	}
}

// tableSettings reads the client configuration files of databases for settings that
// the type does not have. That a file is missing has been said where it is named.
func (r *run) tableSettings(code string) {
	for _, p := range r.cfg.Usage(nil).ClientFiles() {
		if p.Line > 0 || p.File != "" {
			r.add(Warning, code, setting{origin: p.Origin}, p.Text, "")
		}
	}
}

func looksOtherwise(name string) bool {
	for _, part := range notTables {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// specs finds the tables in a value: items "type:name" whose type is one of ours.
// A list may name them behind a restriction, and other words stand between.
func specs(value string) []string {
	var out []string
	for _, item := range postconf.SplitList(value) {
		item = strings.TrimPrefix(item, "!")
		typ, name, ok := strings.Cut(item, ":")
		if !ok || name == "" || strings.Contains(name, "/") && typ == "unix" {
			continue
		}
		if _, known := table.FindType(typ); known {
			out = append(out, item)
		}
	}
	return out
}

// maxClip bounds a piece of the configuration in a finding.
const maxClip = 200

func clip(s string) string {
	if len(s) > maxClip {
		return s[:maxClip] + "..."
	}
	return s
}
