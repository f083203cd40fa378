//go:build oracle

package cleanup

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
	"postroad/internal/testkit/mailkit"
)

// update writes what the real Postfix answers into the cases; see TestOracle.
var update = flag.Bool("update", false, "write Postfix's answers into the cases")

// TestOracle sends all cases to the cleanup(8) of an installed Postfix and
// compares what it does with the files; -update writes them. It needs root, and
// fails where there is no Postfix.
func TestOracle(t *testing.T) {
	cases := readCases(t)
	dir := startOracle(t, cases)
	ids := make([]string, len(cases))
	faults := make([]string, len(cases))
	for i, c := range cases {
		ids[i], faults[i] = c.feed(t, filepath.Join(dir, fmt.Sprintf("spool/public/cleanup%d", i)))
	}
	time.Sleep(300 * time.Millisecond) // the log daemon may be behind
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	must(t, err)
	for i, c := range cases {
		got := c.collect(t, dir, ids[i], faults[i], string(log))
		if got == c.want {
			continue
		}
		if !*update {
			t.Errorf("case %s\nPostfix says\n%s\nthe file says\n%s", c.name, got, c.want)
			continue
		}
		raw, err := os.ReadFile(c.path)
		must(t, err)
		head, tail, _ := strings.Cut(string(raw), "-- postfix --\n")
		_, ours, differs := strings.Cut(tail, "-- ours --\n")
		if differs {
			ours = "-- ours --\n" + ours
		}
		must(t, os.WriteFile(c.path, []byte(head+"-- postfix --\n"+got+ours), 0o644))
	}
	t.Logf("%d cases compared", len(cases))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startOracle starts a private Postfix with one cleanup service per case. There
// is no queue manager: what cleanup writes stays in incoming.
func startOracle(t *testing.T, cases []*testCase) string {
	t.Helper()
	s := mailkit.New(t, mailkit.Postfix, mailkit.Programs{})
	var b strings.Builder
	b.WriteString("postlog unix-dgram n - n - 1 postlogd\nproxymap unix - - n - - proxymap\nrewrite unix - - n - - trivial-rewrite\n" +
		"remoterewrite unix - - n - - trivial-rewrite -o remote_header_rewrite_domain=domain.invalid\n" +
		"bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n")
	for i, c := range cases {
		fmt.Fprintf(&b, "cleanup%d unix n - n - 0 cleanup\n", i)
		for _, s := range c.sets {
			fmt.Fprintf(&b, "  -o { %s = %s }\n", s[0], s[1])
		}
	}
	s.Start(baseConfig, b.String(), "unix", filepath.Join(s.Dir, fmt.Sprintf("spool/public/cleanup%d", len(cases)-1)))
	return s.Dir
}

// Flags that clients of cleanup(8) send.
const (
	flagBounce = 1 << 0
	flagFilter = 1 << 1
	flagBcc    = 1 << 4
	flagMap    = 1 << 5
)

// feed speaks to a cleanup(8) as smtpd(8) and pickup(8) do.
func (c *testCase) feed(t *testing.T, socket string) (id, status string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	r := bufio.NewReader(conn)
	attrs := readAttrs(t, r)
	if attrs["queue_id"] == "" { // the name of the protocol came alone
		attrs = readAttrs(t, r)
	}
	flags := flagFilter | flagBcc | flagMap
	if c.origin == mail.OriginInternal {
		flags = flagMap
	}
	if c.noMap {
		flags &^= flagMap | flagBcc
	}
	if c.noChecks {
		flags &^= flagFilter
	}
	w := bufio.NewWriter(conn)
	fmt.Fprintf(w, "flags\x00%d\x00\x00", flags)
	c.records(w)
	must(t, w.Flush())
	answer := readAttrs(t, r)
	bits, err := strconv.Atoi(answer["status"])
	must(t, err)
	return attrs["queue_id"], statusText(bits, answer["reason"])
}

// records writes the message.
func (c *testCase) records(w *bufio.Writer) {
	put := func(kind byte, s string) {
		w.WriteByte(kind)
		n := len(s)
		for n >= 0x80 {
			w.WriteByte(byte(n) | 0x80)
			n >>= 7
		}
		w.WriteByte(byte(n))
		w.WriteString(s)
	}
	put('T', fmt.Sprintf("%d 0", arrived.Unix()))
	context := "remote"
	if c.local {
		context = "local"
	}
	put('A', "rewrite_context="+context)
	if c.fullName != "" {
		put('F', c.fullName)
	}
	put('S', string(c.sender))
	switch c.origin {
	case mail.OriginSMTP:
		put('A', "log_message_origin=client.test[192.0.2.9]")
		put('A', "log_helo_name=helo.test")
		put('A', "log_protocol_name=ESMTP")
	case mail.OriginLocal:
		put('A', "log_message_origin=local")
	}
	for _, r := range c.rcpts {
		if r.Notify != 0 {
			bits := 0
			for i, bit := range []mail.Notify{mail.NotifyNever, mail.NotifySuccess, mail.NotifyFailure, mail.NotifyDelay} {
				if r.Notify&bit != 0 {
					bits |= 1 << i
				}
			}
			put('A', fmt.Sprintf("notify_flags=%d", bits))
		}
		if c.origin == mail.OriginSMTP {
			put('A', "dsn_orig_rcpt=rfc822;"+r.Address.External())
			put('O', string(r.Address))
		}
		put('R', string(r.Address))
	}
	put('M', "")
	for _, line := range c.lines {
		for len(line) > 2048 {
			put('L', line[:2048])
			line = line[2048:]
		}
		put('N', line)
	}
	put('X', "")
	put('E', "")
}

// statusText names the bits of a status.
func statusText(bits int, reason string) string {
	out := ""
	for i, name := range []string{"bad", "write", "size", "content", "hops", "", "recipients", "proxy", "defer"} {
		if bits&(1<<i) != 0 {
			out += " " + name
		}
	}
	if out == "" {
		return " ok"
	}
	if reason != "" && bits&(1<<3|1<<8) != 0 {
		out += ": " + reason
	}
	return out
}

// collect reads what is in the log and in the queue.
func (c *testCase) collect(t *testing.T, dir, id, status, log string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("status" + status + "\n")
	var mine []string
	pid := "none"
	for line := range strings.SplitSeq(log, "\n") {
		_, text, _ := strings.Cut(line, "postfix/cleanup[")
		who, text, found := strings.Cut(text, "]: ")
		if !found || strings.Contains(text, "qmgr") || strings.Contains(text, " clock ") ||
			strings.Contains(text, "resetting file time stamps") {
			continue
		}
		if strings.Contains(text, id) {
			pid = who
		}
		mine = append(mine, who+" "+munge(text))
	}
	for _, line := range mine {
		if who, text, _ := strings.Cut(line, " "); who == pid {
			b.WriteString("log " + text + "\n")
		}
	}
	file := filepath.Join(dir, "spool/incoming", id)
	hold := false
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		file, hold = filepath.Join(dir, "spool/hold", id), true
	}
	if _, err := os.Stat(file); err != nil {
		return b.String()
	}
	c.envelope(t, &b, dir, file)
	if hold {
		b.WriteString("hold\n")
	}
	b.WriteString("\n")
	b.WriteString(printable(munge(postcat(t, dir, "-bh", file))))
	return b.String()
}

func postcat(t *testing.T, dir, flags, file string) string {
	t.Helper()
	out, err := exec.Command("postcat", "-c", filepath.Join(dir, "etc"), flags, file).Output()
	must(t, err)
	return string(out)
}

// envelope reads the envelope records of a queue file.
func (c *testCase) envelope(t *testing.T, b *strings.Builder, dir, file string) {
	t.Helper()
	orcpt, original, notify := "", "", 0
	var tail strings.Builder
	for line := range strings.SplitSeq(postcat(t, dir, "-e", file), "\n") {
		word, arg, _ := strings.Cut(line, ": ")
		switch word {
		case "sender":
			fmt.Fprintf(b, "from %s\n", arg)
		case "named_attribute":
			name, value, _ := strings.Cut(arg, "=")
			switch name {
			case "dsn_orig_rcpt":
				orcpt = value
			case "notify_flags":
				bits, err := strconv.Atoi(value)
				must(t, err)
				notify = 0
				for i, bit := range []mail.Notify{mail.NotifyNever, mail.NotifySuccess, mail.NotifyFailure, mail.NotifyDelay} {
					if bits&(1<<i) != 0 {
						notify |= int(bit)
					}
				}
			}
		case "original_recipient":
			original = arg
		case "recipient":
			fmt.Fprintf(b, "to %s, original %s, orcpt %s, notify %d\n", arg, original, orcpt, notify)
			orcpt, original, notify = "", "", 0
		case "content_filter":
			fmt.Fprintf(&tail, "filter %s\n", arg)
		case "redirect_to":
			fmt.Fprintf(&tail, "redirect %s\n", arg)
		}
	}
	b.WriteString(tail.String())
}

// readAttrs reads names and values that end in a NUL, up to an empty name.
func readAttrs(t *testing.T, r *bufio.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for {
		name, err := r.ReadString(0)
		must(t, err)
		if name == "\x00" {
			return out
		}
		value, err := r.ReadString(0)
		must(t, err)
		out[strings.TrimSuffix(name, "\x00")] = strings.TrimSuffix(value, "\x00")
	}
}
