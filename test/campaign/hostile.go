package campaign

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
	"postroad/test/scenario"
)

// HostilePlan says how a hostile campaign goes.
type HostilePlan struct {
	// Clients is the number of hostile clients at any time, Good that of clients
	// that send mail meanwhile.
	Clients, Good int
	// Calm and Attack are how long good mail is sent alone, and under attack.
	Calm, Attack time.Duration
	// Pause is how long a hostile client that was turned away waits before it
	// comes again; Patience is smtpd_timeout.
	Pause, Patience time.Duration
	// Seed makes the clients repeatable.
	Seed uint64
}

// Latency sums up how long the letters of good clients took, from the beginning
// of the connection to the final 250.
type Latency struct {
	Letters       int
	P50, P99, Max time.Duration
}

// String is a latency in a few words.
func (l Latency) String() string {
	ms := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d letters, p50 %v, p99 %v, max %v", l.Letters, ms(l.P50), ms(l.P99), ms(l.Max))
}

// Usage is what the server uses.
type Usage struct {
	// Files are open descriptors, Resident is memory in KiB, Threads those of the
	// kernel; all processes together.
	Files, Resident, Threads int
	// Goroutines and OpenFiles are what Postroad itself says about them in its
	// metrics; 0 with a server that has none.
	Goroutines, OpenFiles int
	// Heap and Stacks are its memory for objects, garbage included, and for the
	// stacks of goroutines, Next the size of the heap at which garbage is collected,
	// in KiB.
	Heap, Stacks, Next int
}

// slack is how much more than before the attack may be in use after it: good mail
// is on its way all the time.
const slack = 10

// back tells whether everything that is not memory is as it was before.
func (u Usage) back(before Usage) bool {
	return u.Files <= before.Files+slack && u.Goroutines <= before.Goroutines+2*slack && u.OpenFiles <= before.OpenFiles+slack
}

// HostileReport is what came of a hostile campaign.
type HostileReport struct {
	testkit.Verdict
	// Calm, Attack and After are the latencies before, during and after.
	Calm, Attack, After Latency
	// Slow is, of the slowest letter under attack, how long the connection, the
	// greeting and the rest took.
	Slow [3]time.Duration
	// Overflows is how often the kernel had to turn a connection away because the
	// server did not accept fast enough.
	Overflows int
	// Failed are letters that good clients could not hand over under attack, Why
	// the first reasons.
	Failed int
	Why    []string
	// Open is the number of hostile connections at the height of the attack,
	// Begun how many there were in all.
	Open, Begun int
	// Before, During and Released are what the server used before, at the height,
	// and when the hostile clients were gone.
	Before, During, Released Usage
	// Counted are lines of the log, by what they say.
	Counted map[string]int
	// Crowd are the connections that one address got at the same time and those it
	// was refused; Stress is the experiment with the process limit.
	Crowd  [2]int
	Stress StressReport
}

// PerClient is the memory that a hostile client costs, in KiB.
func (r HostileReport) PerClient() float64 {
	if r.Open == 0 {
		return 0
	}
	return float64(r.During.Resident-r.Before.Resident) / float64(r.Open)
}

// String is the report.
func (r HostileReport) String() string {
	return fmt.Sprintf("%s\ncalm:   %s\nattack: %s (the slowest: %v to connect, greet, and hand over; %d overflows of the listening socket), %d not handed over %q\nafter:  %s\n%d hostile connections at the height, %d in all\n"+
		"before %+v, during %+v, after %+v: %.1f KiB per hostile client\none address: %d connections, %d refused\nstress: %+v\nlog: %v",
		r.Verdict, r.Calm, r.Attack, r.Slow, r.Overflows, r.Failed, r.Why, r.After, r.Open, r.Begun, r.Before, r.During, r.Released, r.PerClient(), r.Crowd[0], r.Crowd[1], r.Stress, r.Counted)
}

// hostileMain lets clients in by the thousand and none for longer than it takes.
// The good and the hostile are told apart by nothing: both are strangers. Their
// names are not looked up, because the name server of the box is not what is
// tested.
const hostileMain = `relay_domains = remote.test
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_chain_files = /etc/postfix/server.pem
smtpd_client_connection_count_limit = 100
smtpd_client_event_limit_exceptions = 198.51.100.9
smtpd_timeout = ${stress?{2}:{PATIENCE}}s
smtpd_starttls_timeout = ${stress?{2}:{PATIENCE}}s
smtpd_per_request_deadline = yes
smtpd_hard_error_limit = 12
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
postroad_metrics_listen = METRICS
`

// metricsPort is where the server under attack shows its metrics.
const metricsPort = ":9154"

// hostileMaster has a service for all, and one with few processes.
const hostileMaster = `smtp      inet  n       -       n       -       15000   smtpd
2525      inet  n       -       n       -       5       smtpd
  -o syslog_name=postfix/few
  -o smtpd_timeout=${stress?{2}:{300}}s
`

// Hostile runs a hostile campaign against a subject.
func Hostile(ctx context.Context, subject box.Subject, plan HostilePlan) (HostileReport, error) {
	var r HostileReport
	err := box.Run(ctx, box.Options{Subject: subject, Disk: true}, "hostile", plan, &r)
	return r, err
}

// hostile is the campaign, in the box.
func hostile(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	var plan HostilePlan
	if err := json.Unmarshal(input, &plan); err != nil {
		return nil, err
	}
	if err := raiseFiles(); err != nil {
		return nil, err
	}
	ledger := testkit.NewLedger()
	if err := stageHostile(ctx, b, ledger, plan); err != nil {
		return nil, err
	}
	if err := b.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
		return nil, withLog(b, err)
	}
	rep := &HostileReport{}
	if rep.Calm = sendGood(ctx, b, ledger, plan, plan.Calm, nil); rep.Calm.Letters == 0 {
		return nil, withLog(b, fmt.Errorf("no good mail even in calm"))
	}
	rep.Before = usage(ctx, b)
	crowd := startCrowd(ctx, b, plan)
	during := make(chan Usage, 1)
	// goroutine: looks at the server in the middle of the attack; ends then.
	go func() {
		testkit.Pause(ctx, plan.Attack*2/3)
		rep.Open = int(crowd.open.Load())
		during <- usage(ctx, b)
	}()
	rep.Attack = sendGood(ctx, b, ledger, plan, plan.Attack, rep)
	rep.During = <-during
	rep.Overflows = overflows()
	rep.Crowd = oneAddress(ctx, b)
	crowd.Stop()
	rep.Begun = int(crowd.begun.Load())
	if err := released(ctx, b, rep); err != nil {
		return nil, withLog(b, err)
	}
	rep.After = sendGood(ctx, b, ledger, plan, plan.Calm, nil)
	var err error
	if rep.Stress, err = underStress(ctx, b); err != nil {
		return nil, withLog(b, err)
	}
	if err := drain(ctx, b); err != nil {
		return nil, withLog(b, err)
	}
	rep.Verdict = ledger.Judge()
	return rep, countLog(b, rep)
}

// stageHostile writes the configuration and opens the remote server.
func stageHostile(ctx context.Context, b *box.Box, l *testkit.Ledger, plan HostilePlan) error {
	main := strings.NewReplacer("PATIENCE", fmt.Sprint(int(plan.Patience.Seconds())), "METRICS", box.ServerIP+metricsPort).Replace(hostileMain)
	if err := stageServer(ctx, b, l, main); err != nil {
		return err
	}
	if err := scenario.Configure(main, hostileMaster); err != nil {
		return err
	}
	return testkit.WriteSelfSigned("/etc/postfix/server.pem", box.HostName)
}

// sendGood lets good clients send letters, one after the other, each in a
// connection of its own. Failures are noted in rep, if there is one.
func sendGood(ctx context.Context, b *box.Box, l *testkit.Ledger, plan HostilePlan, d time.Duration, rep *HostileReport) Latency {
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range plan.Good {
		rnd := rand.New(rand.NewPCG(plan.Seed, uint64(1000+i)))
		// goroutine: a good client; ends when the time is over.
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				began := time.Now()
				steps, err := oneLetter(ctx, b, l, rnd)
				mu.Lock()
				if rep != nil && steps[0]+steps[1]+steps[2] > rep.Slow[0]+rep.Slow[1]+rep.Slow[2] {
					rep.Slow = steps
				}
				if err == nil {
					took = append(took, time.Since(began))
				} else if rep != nil {
					if rep.Failed++; len(rep.Why) < 3 {
						rep.Why = append(rep.Why, err.Error())
					}
				}
				mu.Unlock()
				testkit.Pause(ctx, 20*time.Millisecond)
			}
		})
	}
	wg.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	out := Latency{Letters: len(took)}
	if n := len(took); n > 0 {
		out.P50, out.P99, out.Max = took[n/2], took[n*99/100], took[n-1]
	}
	return out
}

// oneLetter sends a letter in a connection of its own; steps are how long it took
// to connect, to greet, and to hand the letter over.
func oneLetter(ctx context.Context, b *box.Box, l *testkit.Ledger, rnd *rand.Rand) (steps [3]time.Duration, err error) {
	last := time.Now()
	took := func(i int) {
		steps[i] = time.Since(last).Round(time.Microsecond)
		last = time.Now()
	}
	conn, err := b.Dial(ctx, "198.51.100.9", box.ServerIP+":25")
	if took(0); err != nil {
		return steps, err
	}
	p := testkit.NewPlayer(conn, 60*time.Second)
	defer func() { _ = p.Close() }() // the session's end is not the test's matter
	r, err := p.Read()
	if took(1); err != nil || r.Code() != "220" {
		return steps, fmt.Errorf("greeting %q: %w", r.String(), err)
	}
	if _, err := p.Expect("EHLO client.test", "250"); err != nil {
		return steps, err
	}
	letter := testkit.NewLetter(l.NewID(), 100+rnd.IntN(8000), rnd)
	if err := Send(p, "sender@client.test", []string{remoteRcpt}, letter.Text); err != nil {
		return steps, err
	}
	l.Ack(letter.ID, remoteRcpt)
	took(2)
	_, err = p.Do("QUIT")
	return steps, err
}

// overflows reads the counter of the server's network.
func overflows() int {
	text, _ := os.ReadFile("/proc/1/net/netstat") // without it there are none
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if name == "ListenOverflows" && j < len(values) {
				n, _ := strconv.Atoi(values[j]) // the kernel writes numbers
				return n
			}
		}
	}
	return 0
}

// metricRows are the metrics that are looked at, and what they are divided by.
var metricRows = map[string]struct {
	field func(*Usage) *int
	unit  int
}{
	"go_goroutines":                 {func(u *Usage) *int { return &u.Goroutines }, 1},
	"process_open_fds":              {func(u *Usage) *int { return &u.OpenFiles }, 1},
	"go_memstats_heap_alloc_bytes":  {func(u *Usage) *int { return &u.Heap }, 1024},
	"go_memstats_stack_inuse_bytes": {func(u *Usage) *int { return &u.Stacks }, 1024},
	"go_memstats_next_gc_bytes":     {func(u *Usage) *int { return &u.Next }, 1024},
}

// metric asks the server for its metrics and adds those that it has. A server that
// has none, or no time, says nothing.
func (u *Usage) metric(ctx context.Context, b *box.Box) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return b.Dial(ctx, "198.51.100.9", addr) }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+box.ServerIP+metricsPort+"/metrics", nil)
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		row, known := metricRows[name]
		if n, err := strconv.ParseFloat(value, 64); known && err == nil {
			*row.field(u) = int(n) / row.unit
		}
	}
}

// usage looks at the server's processes.
func usage(ctx context.Context, b *box.Box) Usage {
	var u Usage
	u.metric(ctx, b)
	pids, err := b.Processes()
	if err != nil {
		return u
	}
	for _, pid := range pids {
		st, err := testkit.ReadStat(pid)
		if err != nil {
			continue
		}
		u.Resident += int(st.ResidentPages) * os.Getpagesize() / 1024
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is good
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		u.Files += len(files)
		u.Threads += len(tasks)
	}
	return u
}

// released waits until the server has let go of what hostile clients held.
func released(ctx context.Context, b *box.Box, rep *HostileReport) error {
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ok := testkit.Poll(wait, 100*time.Millisecond, func() bool {
		rep.Released = usage(ctx, b)
		return rep.Released.back(rep.Before) && countLog(b, rep) == nil && rep.Counted["connect from"] == rep.Counted["disconnect from"]
	})
	if !ok {
		return fmt.Errorf("before the attack the server had %+v, a minute after it %+v; sessions: %v", rep.Before, rep.Released, rep.Counted)
	}
	return nil
}

// logWords are what is counted in the log.
var logWords = []string{"smtpd[", "connect from", "disconnect from", "timeout after", "lost connection after", "improper command pipelining", "too many errors",
	"Connection concurrency limit exceeded", "request longer than", "SSL_accept error", "panic", "fatal:", "has reached its process limit", "accept:"}

// countLog counts what the log says.
func countLog(b *box.Box, rep *HostileReport) error {
	lines, err := b.Log()
	rep.Counted = map[string]int{}
	for _, line := range lines {
		for _, w := range logWords {
			if strings.Contains(line, w) && !(w == "connect from" && strings.Contains(line, "disconnect from")) {
				rep.Counted[w]++
			}
		}
	}
	return err
}
