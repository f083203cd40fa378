// Command postroad is the mail server and all of its commands.
package main

import (
	"context"
	"os"
	"path/filepath"

	"postroad/internal/cli"
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

// serves tells which inet services are SMTP servers.
func serves(s *postconf.Service) bool { return s.Program() == "smtpd" }

// offline is the queue of a server that does not run.
type offline struct {
	qmgr.Admin
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
	return &offline{Admin: qmgr.Admin{Store: store}, store: store}, nil
}
