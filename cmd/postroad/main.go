// Command postroad is the mail server and all of its commands.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"postroad/internal/cli"
	"postroad/internal/maildrop"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/qmgr"
	"postroad/internal/queue"
)

// storeDir is where below the queue directory our store lies.
const storeDir = "postroad"

func main() {
	if len(os.Args) >= 2 && os.Args[1] == master.PrivdeliverArg {
		os.Exit(privdeliver.Main(os.Args[2:]))
	}
	os.Exit(cli.Main(os.Args, cli.Host{
		Program: &master.Program{
			Start: start, Serves: serves, QueueDirs: []string{storeDir}, WorkerArgs: []string{"worker"},
		},
		OpenQueue: openQueue,
		Explain:   explain,
		Check: func(cfg *postconf.Config) []postconf.Problem {
			return append(cli.Unserved(cfg, true), checkFilters(cfg)...)
		},
	}))
}

// serves tells which inet services are SMTP servers, or the gate before one.
func serves(s *postconf.Service) bool { return s.Program() == "smtpd" || s.Program() == "postscreen" }

// offline is the queue of a server that does not run.
type offline struct {
	admin
	store *queue.Store
}

// Close implements cli.Queue.
func (o *offline) Close() error { return o.store.Close() }

// openQueue opens the queue for a command while no server runs.
func openQueue(_ context.Context, cfg *postconf.Config) (cli.Queue, error) {
	dir, err := cfg.View(nil).Value("queue_directory")
	if err != nil {
		return nil, err
	}
	store, err := queue.Open(queue.Options{Dir: filepath.Join(dir, storeDir), Reserve: -1})
	if err != nil {
		return nil, err
	}
	owner, err := ownerOf(dir)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	q := &qmgr.Admin{Store: store, Resubmit: requeue(dir, owner, func() {})}
	return &offline{admin: admin{Queue: q, dir: dir}, store: store}, nil
}

// ownerOf is the uid of the server: that of the maildrop.
func ownerOf(queueDir string) (int, error) {
	st, err := os.Stat(filepath.Join(queueDir, maildrop.DirName))
	if err != nil {
		return 0, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("no owner of the maildrop")
	}
	return int(sys.Uid), nil
}
