//go:build oracle

package tables

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/sqlkit"
)

var binDir = flag.String("bin", "../../bin", "where make build has put postroad")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// schema is that of postfixadmin, as far as maps ask for it.
const schema = `CREATE TABLE domain (domain VARCHAR(255) PRIMARY KEY, active INT);
CREATE TABLE mailbox (username VARCHAR(255) PRIMARY KEY, maildir VARCHAR(255), active INT);
CREATE TABLE alias (address VARCHAR(255) PRIMARY KEY, goto VARCHAR(255), active INT);
INSERT INTO domain VALUES ('example.test', 1);
INSERT INTO mailbox VALUES ('known@example.test', 'known/', 1);
INSERT INTO alias VALUES ('list@example.test', 'known@example.test', 1);`

// queries are the maps.
var queries = map[string]string{
	"domains":   "SELECT domain FROM domain WHERE domain='%s' AND active=1",
	"mailboxes": "SELECT maildir FROM mailbox WHERE username='%s' AND active=1",
	"aliases":   "SELECT goto FROM alias WHERE address='%s' AND active=1",
}

// site is a running Postroad.
type site struct {
	dir  string
	port int
}

// siteDir makes a directory that mail_owner can get to.
func siteDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tables")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// specs has the tables of a site by the name of the map.
type specs map[string]string

// settings writes the files of client settings for the maps, where common settings
// come first.
func settings(t *testing.T, dir, kind, common string, each map[string]string) specs {
	t.Helper()
	all := specs{}
	for name, text := range each {
		path := filepath.Join(dir, name+".cf")
		must(t, os.WriteFile(path, []byte(common+text+"\n"), 0o600))
		all[name] = "proxy:" + kind + ":" + path
	}
	return all
}

// sql has the maps in a database of a type at an address.
func sql(t *testing.T, dir, kind, hosts string) specs {
	t.Helper()
	each := map[string]string{}
	for name, query := range queries {
		each[name] = "query = " + query
	}
	return settings(t, dir, kind, "hosts = "+hosts+"\nuser = mail\npassword = secret\ndbname = mail\nretry_interval = 1\n", each)
}

// startSite starts Postroad in a directory with these maps, and more lines of main.cf.
func startSite(t *testing.T, dir string, maps specs, lines ...string) *site {
	t.Helper()
	s := &site{dir: dir, port: testkit.FreePort(t)}
	main := fmt.Sprintf(`compatibility_level = 3.11
myhostname = mx.example.test
mydestination =
inet_interfaces = 127.0.0.1
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = /
virtual_mailbox_domains = %[2]s
virtual_mailbox_maps = %[3]s
virtual_alias_maps = %[4]s
virtual_transport = discard:
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions =
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_client_connection_rate_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
`, dir, maps["domains"], maps["mailboxes"], maps["aliases"]) + strings.Join(lines, "\n") + "\n"
	master := fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n"+
		"bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ndiscard unix - - n - - discard\nerror unix - - n - - error\nretry unix - - n - - error\n", s.port)
	etc := filepath.Join(dir, "etc")
	must(t, os.Mkdir(etc, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "spool"), 0o755))
	must(t, os.WriteFile(filepath.Join(etc, "main.cf"), []byte(main), 0o644))
	must(t, os.WriteFile(filepath.Join(etc, "master.cf"), []byte(master), 0o644))
	cmd := exec.Command(filepath.Join(*binDir, "postroad"), "postfix", "-c", etc, "start-fg")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait() // it ends by our signal
	})
	eventually(t, "the server answers", func() bool { return s.ask("known@example.test") > 0 })
	return s
}

// patience is how long something may take: a lookup server that hangs is waited for
// 100 seconds, as in Postfix.
const patience = 150 * time.Second

// eventually waits for something to happen.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !testkit.Poll(ctx, 50*time.Millisecond, done) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// ask offers a message and returns the code of the reply that decides: the one to
// RCPT, or to the message. 0 means that the session broke.
func (s *site) ask(rcpt string) int { return s.askFrom("127.0.0.1", rcpt) }

// askFrom is ask by a client with this address.
func (s *site) askFrom(client, rcpt string) int {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	conn, err := from.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return 0
	}
	text := textproto.NewConn(conn)
	defer func() { _ = text.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	say := func(line string, class int) int {
		if line != "" {
			_ = text.PrintfLine("%s", line) // a reply fails too, then
		}
		code, _, err := text.ReadResponse(class)
		if err != nil && code == 0 {
			return 0
		}
		return code
	}
	code := 0
	for _, step := range []struct {
		line  string
		class int
	}{{"", 2}, {"EHLO client.test", 2}, {"MAIL FROM:<sender@client.test>", 2}, {"RCPT TO:<" + rcpt + ">", 2}, {"DATA", 3}, {"Subject: x\r\n\r\nx\r\n.", 2}} {
		if code = say(step.line, step.class); code/100 != step.class {
			return code
		}
	}
	return code
}

// tally counts replies.
type tally struct{ good, later, never, broken atomic.Int64 }

// add counts a reply.
func (c *tally) add(code int) {
	switch code / 100 {
	case 2:
		c.good.Add(1)
	case 4:
		c.later.Add(1)
	case 5:
		c.never.Add(1)
	default:
		c.broken.Add(1)
	}
}

// source is where the maps of a site are, and what can happen to it.
type source struct {
	maps                       specs
	kill, start, pause, resume func()
	// add adds the user "new".
	add func()
}

// database is a source in an SQL server.
func database(start func(testing.TB, ...string) *sqlkit.Server, kind string) func(*testing.T, string) *source {
	return func(t *testing.T, dir string) *source {
		db := start(t)
		db.Run(schema)
		return &source{
			maps: sql(t, dir, kind, fmt.Sprintf("inet:127.0.0.1:%d", db.Port)),
			kill: db.Kill, start: db.Start, pause: db.Pause, resume: db.Resume,
			add: func() { db.Run("INSERT INTO mailbox VALUES ('new@example.test', 'new/', 1)") },
		}
	}
}

// TestOutage kills and stops what has the tables while mail flows: known recipients
// are never refused, unknown ones never accepted, what was accepted is delivered
// and nothing bounces.
func TestOutage(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(*testing.T, string) *source
	}{
		{"mysql", database(sqlkit.MariaDB, "mysql")}, {"pgsql", database(sqlkit.PostgreSQL, "pgsql")},
		{"ldap", ldapSource}, {"memcache", memcacheSource}, {"sqlite", sqliteSource}, {"tcp", serverSource("tcp", "tcp:%s")},
		{"socketmap", serverSource("socketmap", "socketmap:inet:%s:map")},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dir := siteDir(t)
			from := kind.make(t, dir)
			outage(t, startSite(t, dir, from.maps), from)
		})
	}
}

// load is mail to known and to unknown users that clients send until it is stopped.
type load struct {
	t              *testing.T
	known, unknown tally
	done           chan struct{}
	clients        sync.WaitGroup
}

// clients is how many send mail at a time.
const clients = 8

// startLoad starts the clients.
func startLoad(t *testing.T, s *site, known ...string) *load {
	l := &load{t: t, done: make(chan struct{})}
	for i := range clients {
		// goroutine: ends when done is closed.
		l.clients.Go(func() {
			for n := i; ; n++ {
				select {
				case <-l.done:
					return
				default:
				}
				if n%3 == 0 {
					l.unknown.add(s.ask("nobody@example.test"))
				} else {
					l.known.add(s.ask(known[n%len(known)]))
				}
			}
		})
	}
	return l
}

// more waits until a count has grown.
func (l *load) more(what string, count *atomic.Int64) {
	l.t.Helper()
	from := count.Load()
	eventually(l.t, what, func() bool { return count.Load() >= from+3 })
}

// stop ends the load, and looks for answers that must not be.
func (l *load) stop() {
	l.t.Helper()
	close(l.done)
	l.clients.Wait()
	k, u := &l.known, &l.unknown
	if k.never.Load() > 0 || u.good.Load() > 0 || k.broken.Load()+u.broken.Load() > 0 {
		l.t.Errorf("known users: %d refused; unknown ones: %d accepted; %d sessions broken", k.never.Load(), u.good.Load(), k.broken.Load()+u.broken.Load())
	}
	l.t.Logf("accepted %d, put off %d and %d, refused %d", k.good.Load(), k.later.Load(), u.later.Load(), u.never.Load())
}

// settled waits until as many messages as were accepted are delivered, and looks
// for bounces.
func (s *site) settled(t *testing.T, accepted int64) {
	t.Helper()
	var log string
	eventually(t, "everything is delivered", func() bool {
		data, err := os.ReadFile(filepath.Join(s.dir, "log"))
		log = string(data)
		return err == nil && int64(strings.Count(log, "status=sent")) >= accepted
	})
	if strings.Contains(log, "status=bounced") || strings.Contains(log, "secret") {
		t.Errorf("something bounced, or the log has the password:\n%s", log)
	}
}

// outage is the course of TestOutage.
func outage(t *testing.T, s *site, from *source) {
	l := startLoad(t, s, "known@example.test", "list@example.test")
	known, unknown := &l.known, &l.unknown
	l.more("mail is accepted", &known.good)
	l.more("unknown users are refused", &unknown.never)
	from.kill()
	l.more("without its tables mail is put off", &known.later)
	l.more("so is that to unknown users", &unknown.later)
	from.start()
	l.more("mail is accepted again", &known.good)
	from.pause()
	l.more("when they hang mail is put off", &known.later)
	from.resume()
	l.more("mail is accepted after that", &known.good)
	l.more("and unknown users are refused", &unknown.never)
	l.stop()
	if n := s.ask("new@example.test"); n/100 != 5 {
		t.Errorf("a user who is not there: %d", n)
	}
	from.add()
	if n := s.ask("new@example.test"); n != 250 {
		t.Errorf("a user who has just been added: %d", n)
	}
	s.settled(t, known.good.Load()+1)
}

// TestGarbage asks servers that talk nonsense, and a database file that is none:
// mail is put off.
func TestGarbage(t *testing.T) {
	const noise = "\x00\xffhello\r\n"
	babble := func(t *testing.T) string { return sqlkit.Babble(t, noise, 1<<16) }
	same := func(spec string) specs { return specs{"domains": spec, "mailboxes": spec, "aliases": spec} }
	for name, maps := range map[string]func(t *testing.T, dir string) specs{
		"mysql": func(t *testing.T, dir string) specs { return sql(t, dir, "mysql", "inet:"+babble(t)) },
		"pgsql": func(t *testing.T, dir string) specs { return sql(t, dir, "pgsql", "inet:"+babble(t)) },
		"ldap": func(t *testing.T, dir string) specs {
			return settings(t, dir, "ldap", "server_host = ldap://"+babble(t)+"\nsearch_base = dc=test\n", filters)
		},
		"memcache": func(t *testing.T, dir string) specs {
			return settings(t, dir, "memcache", "memcache = inet:"+babble(t)+"\nmax_try = 1\n", formats)
		},
		"sqlite": func(t *testing.T, dir string) specs {
			must(t, os.WriteFile(filepath.Join(dir, "db"), []byte(strings.Repeat(noise, 5000)), 0o644))
			return sqliteMaps(t, dir)
		},
		"tcp":       func(t *testing.T, _ string) specs { return same("tcp:" + babble(t)) },
		"socketmap": func(t *testing.T, _ string) specs { return same("socketmap:inet:" + babble(t) + ":map") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := siteDir(t)
			s := startSite(t, dir, maps(t, dir))
			for _, rcpt := range []string{"known@example.test", "nobody@example.test"} {
				if code := s.ask(rcpt); code/100 != 4 {
					t.Errorf("%s: %d", rcpt, code)
				}
			}
		})
	}
}
