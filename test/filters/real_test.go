//go:build oracle

package filters

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// daemon is a real filter in a directory of its own.
type daemon struct {
	name string
	// start runs it on a port of 127.0.0.1.
	start func(t *testing.T, dir string, port int)
	// letters are the messages that are sent, by name.
	letters map[string]string
	// wants is what must be in the outcome of a letter, so that a filter that does
	// nothing does not count as one that agrees.
	wants map[string]string
}

const head = "Date: Fri, 1 Jan 2021 00:00:00 +0000\r\nSubject: a letter\r\nFrom: Ann <ann@b.test>\r\nTo: joe@d.test\r\nMessage-ID: <fixed@b.test>\r\n"

// daemons are the filters that Debian has.
func daemons() []daemon {
	plain := head + "\r\nDear Joe,\r\n\r\n  this is a letter with  blanks \r\n.and a dot\r\n\r\n\r\n"
	large := head + "\r\n" + lines(2500)
	const virus = "POSTROAD-HARMLESS-TEST-SIGNATURE-0815"
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	return []daemon{
		{"opendkim", startOpenDKIM, map[string]string{"plain": plain, "large": large, "folded": head + "X-Long: one\r\n two\r\n\tthree\r\n\r\nx\r\n"},
			map[string]string{"plain": "DKIM-Signature: v=1;", "large": "DKIM-Signature: v=1;", "folded": "DKIM-Signature: v=1;"}},
		{"rspamd", startRspamd, map[string]string{"plain": plain, "large": large, "spam": head + "\r\n" + gtube + "\r\n"},
			map[string]string{"plain": "X-Rspamd-Mark: seen ID", "spam": "554 5.7.1"}},
		{"opendmarc", startOpenDMARC, map[string]string{"plain": plain, "no From": strings.Replace(plain, "From: Ann", "X-From: Ann", 1)},
			map[string]string{"plain": "Authentication-Results: mx.test; dmarc="}},
		{"clamav-milter that keeps", func(t *testing.T, dir string, port int) { startClamAV(t, dir, port, virus, "Quarantine") },
			map[string]string{"virus": head + "\r\nbefore " + virus + " after\r\n"}, map[string]string{"virus": "250 2.0.0 Ok: queued as ID\n221 2.0.0 Bye\nheld"}},
		{"clamav-milter", func(t *testing.T, dir string, port int) { startClamAV(t, dir, port, virus, "Reject") },
			map[string]string{"plain": plain, "virus": head + "\r\nbefore " + virus + " after\r\n", "large": large},
			map[string]string{"plain": "X-Virus-Scanned:", "virus": "550 5.7.1"}},
		{"spamass-milter", startSpamAssassin, map[string]string{"plain": plain, "spam": head + "\r\n" + gtube + "\r\n"},
			map[string]string{"plain": "X-Spam-Checker-Version:", "spam": "550 5.7.1"}},
	}
}

// TestReal sends letters past the real filters through both servers.
func TestReal(t *testing.T) {
	for _, d := range daemons() {
		t.Run(d.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "filter-"+d.name)
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			must(t, os.Chmod(dir, 0o755))
			ports := testkit.FreePorts(t, 3)
			d.start(t, dir, ports[0])
			listening(t, ports[0], d.name)
			results := map[string]map[string]string{}
			for i, name := range []string{"postfix", "postroad"} {
				s := startServer(t, name, "milter_default_action = tempfail\n", []service{{port: ports[1+i], settings: []string{fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d", ports[0])}}})
				results[name] = map[string]string{}
				for letter, text := range d.letters {
					results[name][letter] = s.letter(t, ports[1+i], text)
				}
			}
			for letter := range d.letters {
				theirs, ours := results["postfix"][letter], results["postroad"][letter]
				if theirs != ours {
					t.Errorf("%s\n--- Postfix\n%s\n--- Postroad\n%s", letter, theirs, ours)
				}
				if !strings.Contains(ours, d.wants[letter]) {
					t.Errorf("%s has no %q\n%s", letter, d.wants[letter], ours)
				}
			}
		})
	}
}

// varying is what filters write that is different each time.
var varying = []*regexp.Regexp{
	regexp.MustCompile(`(\bt=)\d+`), regexp.MustCompile(`(?s)(\bb=)[A-Za-z0-9+/=\s]+`), regexp.MustCompile(`((?:X-Spam-Checker-Version|X-Virus-Scanned): ).*`),
	regexp.MustCompile(`(X-Rspamd-Server: ).*`), regexp.MustCompile(`(\bSIZE=)\d+`),
}

// letter sends one message and returns the last reply and what was delivered.
func (s *server) letter(t *testing.T, port int, text string) string {
	t.Helper()
	before, logged := len(s.sink.Messages()), len(s.Log(0))
	replies := converse(t, port, []string{"EHLO c.test", "MAIL FROM:<ann@b.test>", "RCPT TO:<joe@d.test>", "DATA", text})
	out := replies[strings.LastIndex(replies, "> DATA"):]
	if strings.Contains(replies, "queued as") {
		held := func() bool { return strings.Contains(s.Log(logged), "milter-hold: ") }
		wait(t, 10*time.Second, func() bool { return len(s.sink.Messages()) > before || held() })
		if held() {
			out += "held\n"
		}
	}
	for _, m := range s.sink.Messages()[before:] {
		out += m.Mail + " " + strings.Join(slices.Sorted(slices.Values(m.Rcpts)), " ") + "\n" + received.ReplaceAllString(m.Data, "Received: RECEIVED\r\n$1")
	}
	out = munge(out)
	for _, re := range varying {
		out = re.ReplaceAllString(out, "${1}VARIES")
	}
	return out
}

// run starts a program in the foreground and ends it with the test. What it says
// goes to a file.
func run(t *testing.T, dir string, argv ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, filepath.Base(argv[0])+".out"))
	must(t, err)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		done := make(chan struct{})
		// goroutine: waits for the program; ends with it.
		go func() { defer close(done); _ = cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
		_ = out.Close()
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s said\n%s", argv[0], text)
		}
	})
}

// listening waits until something listens on a port.
func listening(t *testing.T, port int, name string) {
	t.Helper()
	if !wait(t, 60*time.Second, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("%s does not start", name)
	}
}

// file writes a file that everybody may read.
func file(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// own gives a directory to a user.
func own(t *testing.T, dir, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	must(t, err)
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	gid, err := strconv.Atoi(u.Gid)
	must(t, err)
	must(t, os.Chown(dir, uid, gid))
}

const dkimConf = `Syslog no
UserID root
Socket inet:%d@127.0.0.1
Canonicalization simple/simple
Domain b.test
Selector s1
KeyFile %s/s1.private
TestPublicKeys %s/keys
Mode %s
InternalHosts 127.0.0.0/8
RequireSafeKeys no
AuthservID mx.test
AlwaysAddARHeader yes
`

// dkimKey makes a key and its record.
func dkimKey(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("opendkim-genkey", "-b", "2048", "-d", "b.test", "-s", "s1", "-D", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("opendkim-genkey: %v: %s", err, out)
	}
	record, err := os.ReadFile(filepath.Join(dir, "s1.txt"))
	must(t, err)
	key := strings.Join(regexp.MustCompile(`"([^"]*)"`).FindAllString(string(record), -1), "")
	file(t, filepath.Join(dir, "keys"), "s1._domainkey.b.test "+strings.ReplaceAll(key, `"`, "")+"\n")
}

func startOpenDKIM(t *testing.T, dir string, port int) {
	dkimKey(t, dir)
	conf := file(t, filepath.Join(dir, "sign.conf"), fmt.Sprintf(dkimConf, port, dir, dir, "s"))
	run(t, dir, "opendkim", "-f", "-x", conf)
}

// TestDKIM signs a letter on its way in and lets another filter check the signature
// when it comes back: what a filter signs is what is delivered, byte for byte.
func TestDKIM(t *testing.T) {
	dir, err := os.MkdirTemp("", "filter-dkim")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ports := testkit.FreePorts(t, 5)
	dkimKey(t, dir)
	signs := file(t, filepath.Join(dir, "sign.conf"), fmt.Sprintf(dkimConf, ports[0], dir, dir, "s"))
	checks := file(t, filepath.Join(dir, "check.conf"), strings.Replace(fmt.Sprintf(dkimConf, ports[1], dir, dir, "v"), "127.0.0.0/8", "192.0.2.1", 1))
	run(t, dir, "opendkim", "-f", "-x", signs)
	run(t, dir, "opendkim", "-f", "-x", checks)
	listening(t, ports[0], "opendkim")
	listening(t, ports[1], "opendkim")
	s := startServer(t, "postroad", "", []service{{ports[2], []string{"smtpd_milters ="}},
		{ports[3], []string{fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d", ports[0])}}, {ports[4], []string{fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d", ports[1])}}})
	for letter, text := range daemons()[0].letters {
		before := len(s.sink.Messages())
		s.letter(t, ports[3], text)
		if len(s.sink.Messages()) <= before {
			t.Fatalf("%s: not delivered: %s", letter, s.Log(0))
		}
		signed := s.sink.Messages()[before].Data
		if got := s.letter(t, ports[4], signed); !strings.Contains(got, "dkim=pass") {
			t.Errorf("%s: the signature does not hold\n%s", letter, got)
		}
		if got := s.letter(t, ports[4], strings.Replace(signed, "line", "lime", 1)); letter == "large" && !strings.Contains(got, "dkim=fail") {
			t.Errorf("%s: a forged letter passes\n%.2000s", letter, got)
		}
	}
}

func startRspamd(t *testing.T, dir string, port int) {
	own(t, dir, "_rspamd")
	conf := file(t, filepath.Join(dir, "rspamd.conf"), fmt.Sprintf(`options {
  pidfile = "%[1]s/pid"; tempdir = "%[1]s"; filters = ""; one_shot = true;
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
}
logging { type = "file"; filename = "%[1]s/log"; level = "info"; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" {
  bind_socket = "127.0.0.1:%[2]d"; milter = yes; timeout = 60s; count = 1;
  upstream "local" { default = yes; self_scan = yes; }
}
lua = "%[1]s/mark.lua";
`, dir, port))
	file(t, filepath.Join(dir, "mark.lua"), `rspamd_config:register_symbol({
  name = "MARK", type = "postfilter", priority = 10,
  callback = function(task)
    task:set_milter_reply({
      add_headers = { ["X-Rspamd-Mark"] = { value = "seen " .. task:get_queue_id(), order = 1 }, ["X-Rspamd-From"] = task:get_from_ip():to_string() },
      remove_headers = { ["To"] = 0 },
      change_from = "marked@b.test", add_rcpt = { "copy@d.test" },
    })
  end })
`)
	run(t, dir, "rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", conf, "--var", "DBDIR="+dir)
}

func startOpenDMARC(t *testing.T, dir string, port int) {
	file(t, filepath.Join(dir, "suffixes"), "test\n")
	file(t, filepath.Join(dir, "ignore"), "192.0.2.1\n") // not 127.0.0.1, as it does by itself
	conf := file(t, filepath.Join(dir, "opendmarc.conf"), fmt.Sprintf("Syslog false\nAuthservID mx.test\nSocket inet:%d@127.0.0.1\nPublicSuffixList %s/suffixes\nRequiredHeaders true\nRejectFailures false\nBackground false\nSPFIgnoreResults true\nIgnoreHosts %s/ignore\n", port, dir, dir))
	run(t, dir, "opendmarc", "-f", "-c", conf)
}

func startClamAV(t *testing.T, dir string, port int, virus, infected string) {
	must(t, os.MkdirAll(filepath.Join(dir, "db"), 0o755))
	file(t, filepath.Join(dir, "db/test.ndb"), fmt.Sprintf("Postroad.Test:0:*:%x\n", virus))
	scan := file(t, filepath.Join(dir, "clamd.conf"), fmt.Sprintf("DatabaseDirectory %[1]s/db\nLocalSocket %[1]s/clamd.sock\nForeground yes\nUser root\nTemporaryDirectory %[1]s\n", dir))
	conf := file(t, filepath.Join(dir, "milter.conf"), fmt.Sprintf("MilterSocket inet:%d@127.0.0.1\nClamdSocket unix:%s/clamd.sock\nOnInfected %s\nAddHeader Replace\nForeground yes\nUser root\nTemporaryDirectory %s\n", port, dir, infected, dir))
	run(t, dir, "clamd", "-c", scan)
	if !wait(t, 30*time.Second, func() bool { _, err := os.Stat(filepath.Join(dir, "clamd.sock")); return err == nil }) {
		t.Fatal("clamd does not start")
	}
	run(t, dir, "clamav-milter", "-c", conf)
}

func startSpamAssassin(t *testing.T, dir string, port int) {
	scan := testkit.FreePorts(t, 8)[7]
	must(t, os.MkdirAll(filepath.Join(dir, "site"), 0o755))
	file(t, filepath.Join(dir, "site/v320.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	file(t, filepath.Join(dir, "site/local.cf"), "use_bayes 0\nbody TEST_SPAM /GTUBE-STANDARD-ANTI/\nscore TEST_SPAM 100\n")
	run(t, dir, "spamd", "-L", "-i", "127.0.0.1", "-p", strconv.Itoa(scan), "--siteconfigpath="+filepath.Join(dir, "site"), "-s", "stderr", "-m", "1", "-x", "-u", "nobody")
	listening(t, scan, "spamd")
	run(t, dir, "spamass-milter", "-p", fmt.Sprintf("inet:%d@127.0.0.1", port), "-r", "15", "--", "-d", "127.0.0.1", "-p", strconv.Itoa(scan))
}
