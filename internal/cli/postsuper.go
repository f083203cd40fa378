package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/sys"
)

const postsuperUsage = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] " +
	"[-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] " +
	"[-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] " +
	"[-S (redundant structure fix)][-v (verbose)] [queue...]"

// superJob is one option of postsuper with its queue ids.
type superJob struct {
	opt byte
	ids []mail.QueueID
	all bool
}

// superWords are what postsuper says: per message, and as the heading of the
// total.
var superWords = map[control.Op][2]string{
	control.OpDelete:  {"removed", "Deleted"},
	control.OpHold:    {"placed on hold", "Placed on hold"},
	control.OpRelease: {"released from hold", "Released from hold"},
	control.OpRequeue: {"requeued", "Requeued"},
	control.OpExpire:  {"expired", "Force-expired"},
}

// superOps are the operations behind the options, in the order of execution.
var superOps = []struct {
	opt byte
	ops []control.Op
}{
	{'d', []control.Op{control.OpDelete}},
	{'e', []control.Op{control.OpExpire}},
	{'f', []control.Op{control.OpExpire, control.OpRelease}},
	{'r', []control.Op{control.OpRequeue}},
	{'h', []control.Op{control.OpHold}},
	{'H', []control.Op{control.OpRelease}},
}

// superQueues are the directories that may be named.
var superQueues = []string{"maildrop", "incoming", "active", "deferred", "hold", "defer", "bounce", "trace", "flush", "saved", "corrupt"}

// runPostsuper is postsuper(1).
func runPostsuper(e *Env) int {
	var dir string
	type request struct {
		opt byte
		arg string
	}
	var requests []request
	g := NewGetopt(e.Args, "c:d:e:f:h:H:pr:sSv")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(1, postsuperUsage)
		}
		if opt == 0 {
			break
		}
		switch opt {
		case 'c':
			dir = g.Arg
		case 'p', 's', 'S', 'v':
			// Our store has no stray files and no directory structure to repair.
		default:
			requests = append(requests, request{opt, g.Arg})
		}
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if e.UID != 0 && !ownsDir(c.settings.QueueDirectory, e.UID) {
		e.Close() // what a stranger tries is not logged
		return e.Fatalf(1, "use of this command is reserved for the superuser")
	}
	for _, name := range g.Args() {
		if !slices.Contains(superQueues, name) {
			return e.Fatalf(1, "invalid directory name: %s", name)
		}
	}
	if len(requests) == 0 {
		return 0
	}
	jobs := map[byte]*superJob{}
	for _, r := range requests {
		e.superID(jobs, r.opt, r.arg) // here, so that what is wrong with it is logged
	}
	return e.superRun(c, jobs, g.Args())
}

// superID adds one argument of -d, -e, -f, -h, -H or -r.
func (e *Env) superID(jobs map[byte]*superJob, opt byte, arg string) {
	job := jobs[opt]
	if job == nil {
		job = &superJob{opt: opt}
		jobs[opt] = job
	}
	switch arg {
	case "ALL":
		job.all = true
	case "-":
		in := bufio.NewScanner(e.Stdin)
		for in.Scan() {
			e.superAdd(job, in.Text())
		}
	default:
		e.superAdd(job, arg)
	}
}

func (e *Env) superAdd(job *superJob, id string) {
	if !cleanID(id) {
		e.Warnf("invalid mail queue id: %s", shorten(id))
		return
	}
	job.ids = append(job.ids, mail.QueueID(id))
}

// superRun executes the jobs and prints the totals.
func (e *Env) superRun(c *config, jobs map[byte]*superJob, queues []string) int {
	ctx := context.Background()
	q, err := e.queue(ctx, c, nil)
	if err != nil {
		if errors.Is(err, os.ErrPermission) || control.Denied(err) {
			return e.Fatalf(1, "use of this command is reserved for the superuser")
		}
		return e.Fatalf(1, "open queue: %s", sys.Reason(err))
	}
	defer q.Close()
	totals := map[control.Op]int{}
	for _, row := range superOps {
		job := jobs[row.opt]
		if job == nil {
			continue
		}
		for _, op := range row.ops {
			sel := control.Selection{IDs: job.ids, All: job.all, Queues: queues}
			n := 0
			if job.all || len(job.ids) > 0 {
				if n, err = q.Change(ctx, op, sel, e.superReport(op, job.all)); err != nil {
					return e.Fatalf(1, "%v", err)
				}
			}
			totals[op] += n
		}
	}
	for _, op := range superTotals {
		if n, done := totals[op]; done {
			e.Infof("%s: %s", superWords[op][1], count(n, "message"))
		}
	}
	return 0
}

// superTotals is the order of the totals.
var superTotals = []control.Op{control.OpRequeue, control.OpDelete, control.OpExpire, control.OpHold, control.OpRelease}

// superReport prints one line per message, unless all messages were asked for.
func (e *Env) superReport(op control.Op, all bool) func(mail.QueueID) {
	return func(id mail.QueueID) {
		if !all {
			e.Infof("%s: %s", id, superWords[op][0])
		}
	}
}
