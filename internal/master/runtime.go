package master

import (
	"context"
	"net"
	"os"

	"postroad/internal/event"
	"postroad/internal/postconf"
)

// Server is the mail system of one process, as cmd/postroad builds it.
type Server interface {
	// Reload goes over to a new generation. After an error the old one is
	// served as before.
	Reload(ctx context.Context, g *Generation) error
	// Shutdown stops accepting, ends what runs, closes the queue, and returns
	// when all of that is done or ctx is over.
	Shutdown(ctx context.Context) error
	// Failed is closed when the server cannot go on, for example because the
	// queue is damaged; Err says why.
	Failed() <-chan struct{}
	// Err is the reason of Failed.
	Err() error
}

// StartFunc builds and starts a Server. It must call rt.DropPrivileges after
// reading what only root may read and before it opens the queue or serves
// anybody. ctx ends with the process.
type StartFunc func(ctx context.Context, g *Generation, rt *Runtime) (Server, error)

// Runtime is what a Server has from the process around it.
type Runtime struct {
	// Log is the mail log, Metrics what it counts in.
	Log     *event.Log
	Metrics *event.Metrics
	// Master is the voice of master(8).
	Master *event.Logger
	// Folded tells that no root process stands behind this one.
	Folded bool
	// DropPrivileges becomes mail_owner for good; without privileges it does
	// nothing.
	DropPrivileges func() error
	// Open opens a file for reading. What this process may not read, master
	// opens, if the configuration names it.
	Open func(path string) (*os.File, error)
	// User starts a process with the rights of a user and returns the socket to
	// it; nil when no root process stands behind this one.
	User func(ctx context.Context, uid, gid int) (net.Conn, error)
	// Reload reads the configuration again and returns when the new generation
	// serves, or why it does not.
	Reload func(ctx context.Context) error
	// Stop begins the end of the whole server.
	Stop func()
}

// Program is what master needs to know of the binary.
type Program struct {
	// Start builds the server.
	Start StartFunc
	// Serves tells for which inet services of master.cf the server wants a
	// listener; others are reported and left alone.
	Serves func(*postconf.Service) bool
	// QueueDirs are directories below the queue directory that the mail owner
	// must own, beyond those of Postfix that we use.
	QueueDirs []string
	// WorkerArgs is the command line, without argv[0], that runs Worker in a
	// new process of this binary.
	WorkerArgs []string
}
