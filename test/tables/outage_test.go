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

// startSite starts Postroad with the maps in a database of a type at an address.
func startSite(t *testing.T, kind, hosts string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "tables")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &site{dir: dir, port: l.Addr().(*net.TCPAddr).Port}
	must(t, l.Close())
	spec := func(name string) string { return "proxy:" + kind + ":" + filepath.Join(dir, name+".cf") }
	for name, query := range queries {
		text := fmt.Sprintf("hosts = %s\nuser = mail\npassword = secret\ndbname = mail\nretry_interval = 1\nquery = %s\n", hosts, query)
		must(t, os.WriteFile(filepath.Join(dir, name+".cf"), []byte(text), 0o600))
	}
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
queue_run_delay = 1s
`, dir, spec("domains"), spec("mailboxes"), spec("aliases"))
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

// eventually waits for something to happen.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 50*time.Millisecond, done) {
		t.Fatalf("not within 90 seconds: %s", what)
	}
}

// ask offers a message and returns the code of the reply that decides: the one to
// RCPT, or to the message. 0 means that the session broke.
func (s *site) ask(rcpt string) int {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return 0
	}
	text := textproto.NewConn(conn)
	defer func() { _ = text.Close() }()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
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

// TestDatabaseOutage kills and stops a database while mail flows: known recipients
// are never refused, unknown ones never accepted, what was accepted is delivered
// and nothing bounces.
func TestDatabaseOutage(t *testing.T) {
	for _, kind := range []struct {
		name  string
		start func(testing.TB, ...string) *sqlkit.Server
	}{{"mysql", sqlkit.MariaDB}, {"pgsql", sqlkit.PostgreSQL}} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			db := kind.start(t)
			db.Run(schema)
			s := startSite(t, kind.name, fmt.Sprintf("inet:127.0.0.1:%d", db.Port))
			outage(t, s, db)
		})
	}
}

// TestDatabaseGarbage asks servers that talk nonsense: mail is put off.
func TestDatabaseGarbage(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mysql", "pgsql"} {
		s := startSite(t, kind, "inet:"+sqlkit.Babble(t, "220 hello\r\n\x00\xff", 1<<16))
		for _, rcpt := range []string{"known@example.test", "nobody@example.test"} {
			if code := s.ask(rcpt); code/100 != 4 {
				t.Errorf("%s, %s: %d", kind, rcpt, code)
			}
		}
	}
}

// outage is the course of TestDatabaseOutage.
func outage(t *testing.T, s *site, db *sqlkit.Server) {
	var known, unknown tally
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		// goroutine: ends when stop is closed.
		clients.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%3 == 0 {
					unknown.add(s.ask("nobody@example.test"))
				} else {
					known.add(s.ask([]string{"known@example.test", "list@example.test"}[n%2]))
				}
			}
		})
	}
	more := func(what string, count *atomic.Int64) {
		t.Helper()
		from := count.Load()
		eventually(t, what, func() bool { return count.Load() >= from+5 })
	}
	more("mail is accepted", &known.good)
	more("unknown users are refused", &unknown.never)
	db.Kill()
	more("without the database mail is put off", &known.later)
	more("so is that to unknown users", &unknown.later)
	db.Start()
	more("mail is accepted again", &known.good)
	db.Pause()
	more("with a database that hangs mail is put off", &known.later)
	db.Resume()
	more("mail is accepted after that", &known.good)
	more("and unknown users are refused", &unknown.never)
	close(stop)
	clients.Wait()
	if n := s.ask("new@example.test"); n/100 != 5 {
		t.Errorf("a user who is not there: %d", n)
	}
	db.Run("INSERT INTO mailbox VALUES ('new@example.test', 'new/', 1)")
	if n := s.ask("new@example.test"); n != 250 {
		t.Errorf("a user who has just been added: %d", n)
	}
	known.good.Add(1)
	if known.never.Load() > 0 || unknown.good.Load() > 0 || known.broken.Load()+unknown.broken.Load() > 0 {
		t.Errorf("known users: %d refused; unknown ones: %d accepted; %d sessions broken", known.never.Load(), unknown.good.Load(), known.broken.Load()+unknown.broken.Load())
	}
	var log string
	eventually(t, "everything is delivered", func() bool {
		data, err := os.ReadFile(filepath.Join(s.dir, "log"))
		log = string(data)
		return err == nil && int64(strings.Count(log, "status=sent")) >= known.good.Load()
	})
	if strings.Contains(log, "status=bounced") || strings.Contains(log, "secret") {
		t.Errorf("something bounced, or the log has the password:\n%s", log)
	}
	t.Logf("accepted %d, put off %d and %d, refused %d", known.good.Load(), known.later.Load(), unknown.later.Load(), unknown.never.Load())
}
