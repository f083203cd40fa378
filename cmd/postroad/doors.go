package main

import (
	"context"
	"errors"
	"net"
	"syscall"

	"postroad/internal/event"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/postscreen"
	"postroad/internal/smtpd"
)

// door is what accepts the connections of one inet service, or takes them from one
// that does.
type door interface {
	Serve(ctx context.Context, l net.Listener) error
	// Drain stops accepting and returns when all clients are gone.
	Drain(ctx context.Context) error
	// Dismiss makes them go.
	Dismiss(ctx context.Context) error
	Shutdown(ctx context.Context) error
}

// serve starts a server for each inet service, and makes those that postscreen
// hands its connections to: the smtpd of type pass.
func (s *server) serve(g *master.Generation, gen *generation) []door {
	var doors []door
	behind := map[string]*smtpd.Server{}
	for _, svc := range gen.cfg.Active() {
		if svc.Type != "pass" || svc.Program() != "smtpd" {
			continue
		}
		srv, err := s.smtpd(gen, svc)
		if err != nil {
			s.log.Fatalf("service %s: %v", svc.Name, err)
			continue
		}
		behind[svc.Name] = srv
	}
	s.behind.Store(&behind)
	for _, l := range g.Listeners {
		d, err := s.doorOf(gen, l.Service)
		if err != nil {
			s.log.Fatalf("service %s: %v", l.Service.Name, err)
			continue
		}
		doors = append(doors, d)
		// goroutine: accepts for one service; ends when Shutdown closes the
		// listener.
		s.wg.Go(func() {
			err := d.Serve(s.ctx, l.Listener)
			if err != nil && !errors.Is(err, smtpd.ErrServerClosed) && !errors.Is(err, postscreen.ErrServerClosed) {
				s.log.Errorf("service %s: %v", l.Service.Name, err)
			}
		})
	}
	for _, srv := range behind {
		doors = append(doors, srv) // after those that hand over to them
	}
	return doors
}

// doorOf builds the server of one inet service.
func (s *server) doorOf(gen *generation, svc *postconf.Service) (door, error) {
	if svc.Program() == "postscreen" {
		return s.postscreen(gen, svc)
	}
	return s.smtpd(gen, svc)
}

// postscreen builds the gate of one master.cf service.
func (s *server) postscreen(gen *generation, svc *postconf.Service) (*postscreen.Server, error) {
	view := gen.cfg.View(svc)
	srv, problems := postscreen.FromView(view, postscreen.Deps{
		Tables: gen.tables, Resolver: s.resolver, Caches: &s.caches, Log: s.rt.Log, PIDs: &s.pids, Read: s.readFile,
	})
	log := event.NewLogger(s.rt.Log, logName(view, "postscreen"), 1)
	for _, p := range problems {
		if p.Fatal {
			log.Fatalf("%s", p.Error())
		} else {
			log.Warnf("%s", p.Error())
		}
	}
	if srv == nil {
		return nil, errors.New(firstFatal(problems))
	}
	service := srv.Settings.SMTPService
	srv.HandOff = func(_ context.Context, h *postscreen.Handover) error {
		// That of the generation in force: a client may have been here for long.
		to := (*s.behind.Load())[service]
		if to == nil {
			return errNoService
		}
		return to.Take(s.ctx, &smtpd.Handover{Conn: h.Conn, Read: h.Read, Client: h.Client, Server: h.Server, Wait: h.Wait})
	}
	return srv, nil
}

// errNoService is what Postfix says when master.cf has no smtpd of type pass.
var errNoService = syscall.ENOENT
