package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"postroad/internal/control"
)

// listenShowq serves Postfix's socket of showq(8), which monitoring programs read,
// when master.cf has the service.
func (s *server) listenShowq(gen *generation) error {
	if gen.cfg.Service("showq", "unix") == nil {
		return nil
	}
	path := filepath.Join(gen.settings.QueueDirectory, "public", "showq")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("showq: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("showq: %w", err)
	}
	// Who may enter the directory may ask, as with Postfix.
	if err := os.Chmod(path, 0o666); err != nil {
		ln.Close()
		return fmt.Errorf("showq: %w", err)
	}
	// goroutine: answers monitoring programs; ends with s.ctx.
	s.wg.Go(func() {
		if err := control.ServeShowq(s.ctx, ln, &handler{s}, s.log); err != nil {
			s.log.Errorf("showq: %v", err)
		}
	})
	return nil
}
