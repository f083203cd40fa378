package master

import (
	"fmt"
	"net"
	"os"

	"postroad/internal/postconf"
)

// Listener is a listening socket of one inet service.
type Listener struct {
	net.Listener
	// Service is the master.cf line, in the generation that the Listener is of.
	Service *postconf.Service
}

// Generation is one reading of the configuration. It never changes.
type Generation struct {
	// Number counts from 1.
	Number   int
	Config   *postconf.Config
	Settings Settings
	// Listeners are the sockets of all inet services. One that stays open over
	// a reload is the same net.Listener in both generations.
	Listeners []Listener
}

// load reads the configuration in dir. Warnings go to warn; the first fatal
// problem is the error.
func load(dir string, warn func(string, ...any)) (*postconf.Config, Settings, error) {
	var s Settings
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{Quiet: true})
	if err := report(problems, warn); err != nil {
		return nil, s, err
	}
	if err := report(cfg.View(nil).Decode(&s), warn); err != nil {
		return nil, s, err
	}
	return cfg, s, nil
}

// report hands warnings to warn and returns the first fatal problem.
func report(problems []postconf.Problem, warn func(string, ...any)) error {
	var first error
	for i := range problems {
		p := &problems[i]
		if !p.Fatal {
			warn("%v", p.Error())
		} else if first == nil {
			first = fmt.Errorf("%v", p.Error())
		} else {
			warn("%v", p.Error())
		}
	}
	return first
}

// firstFatal returns the first fatal problem and ignores warnings.
func firstFatal(problems []postconf.Problem) error {
	return report(problems, func(string, ...any) {})
}

// listenerSet turns sockets into listeners and keeps those of the generation
// before, so that an accept loop goes on undisturbed.
type listenerSet map[string]net.Listener

// next returns the listeners of a generation. files has every socket of it that
// the set does not have yet; an endpoint without a socket is reported and left
// out, which happens when main.cf was edited between master's reading and ours.
func (l listenerSet) next(all []endpoint, files map[string]*os.File, warn func(string, ...any)) (listenerSet, []Listener, error) {
	set := listenerSet{}
	var list []Listener
	for _, e := range all {
		key := e.key()
		ln := l[key]
		if ln == nil {
			f := files[key]
			if f == nil {
				warn("no socket for service %s; \"postfix reload\" opens it", key)
				continue
			}
			var err error
			if ln, err = net.FileListener(f); err != nil {
				set.closeExcept(l)
				return nil, nil, fmt.Errorf("service %s: %w", key, err)
			}
		}
		set[key] = ln
		list = append(list, Listener{Listener: ln, Service: e.service})
	}
	return set, list, nil
}

// closeExcept closes the listeners that keep does not have.
func (l listenerSet) closeExcept(keep listenerSet) {
	for key, ln := range l {
		if keep[key] == nil {
			ln.Close()
		}
	}
}
