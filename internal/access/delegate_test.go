package access

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// policySocket stands for the socket of the policy server in cases.
const policySocket = "@POLICY@"

// policyServer answers by the local part of the sender, as
// testdata/policy/answers.txt says.
type policyServer struct {
	path    string
	answers map[string]policyAnswer

	mu       sync.Mutex
	requests []string
}

// policyAnswer is what goes out, and whether the connection is closed then.
type policyAnswer struct {
	text  string
	close bool
}

// startPolicy serves policy requests until the test ends.
func startPolicy(t *testing.T) *policyServer {
	t.Helper()
	s := &policyServer{answers: map[string]policyAnswer{}}
	for _, line := range readLines(t, "testdata/policy/answers.txt") {
		name, quoted, _ := strings.Cut(line, " ")
		quoted, end := strings.CutSuffix(quoted, " close")
		text, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s.answers[name] = policyAnswer{text, end}
	}
	dir, err := os.MkdirTemp("", "policy")
	if err != nil {
		t.Fatal(err)
	}
	s.path = filepath.Join(dir, "socket")
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chmod(s.path, 0o666)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var done sync.WaitGroup
	var conns sync.Map
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(k, _ any) bool { _ = k.(net.Conn).Close(); return true })
		done.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	// goroutine: ends when the listener is closed.
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, nil)
			// goroutine: one connection; ends when it is closed.
			done.Go(func() { s.serve(conn) })
		}
	})
	return s
}

func (s *policyServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		var request strings.Builder
		name := ""
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\n" {
				break
			}
			request.WriteString(line)
			if sender, ok := strings.CutPrefix(line, "sender="); ok {
				name, _, _ = strings.Cut(strings.TrimSpace(sender), "@")
			}
		}
		s.mu.Lock()
		s.requests = append(s.requests, request.String())
		answer, known := s.answers[name]
		s.mu.Unlock()
		if !known {
			answer.text = "action=DUNNO\n\n"
		}
		if _, err := conn.Write([]byte(answer.text)); err != nil || answer.close {
			return
		}
	}
}

// changing are the attributes that are another in every run.
var changing = regexp.MustCompile(`(?m)^(instance|queue_id|client_port|server_address|server_port|mail_version)=.*$`)

// take returns the requests since the last call.
func (s *policyServer) take() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	for i := range out {
		out[i] = changing.ReplaceAllString(out[i], "$1=...")
	}
	return out
}

// withServer puts the socket of a server into the settings of cases.
func withServer(cases []*policyCase, s *policyServer) {
	for _, c := range cases {
		for i := range c.sets {
			c.sets[i][1] = strings.ReplaceAll(c.sets[i][1], policySocket, s.path)
		}
	}
}

// TestPolicyServer asks a policy server in every way, and shows what it is
// asked.
func TestPolicyServer(t *testing.T) {
	t.Parallel()
	base, resolver, server := baseView(t), startDNS(t), startPolicy(t)
	cases := readCases(t, "testdata/delegate/cases.txt")
	withServer(cases, server)
	var out strings.Builder
	for _, c := range cases {
		out.WriteString(transcript(t, c, base, resolver))
		requests := server.take()
		if !strings.Contains(c.name, "is asked") {
			fmt.Fprintf(&out, "requests %d\n\n", len(requests))
			continue
		}
		for _, r := range requests {
			fmt.Fprintf(&out, "request\n%s\n", r)
		}
	}
	testkit.Golden(t, "testdata/delegate/cases.golden", strings.ReplaceAll(out.String(), server.path, policySocket), *update)
}

// TestInstance: every transaction has its own value, and none has none.
func TestInstance(t *testing.T) {
	t.Parallel()
	began := time.Unix(0x100, 0x20*1000)
	for want, i := range map[string]Instance{
		"": {}, "a.100.20.0": {PID: 10, Began: began}, "a.100.20.1": {PID: 10, Began: began, Seq: 1}, "b.100.20.0": {PID: 11, Began: began},
		"a.100.21.0": {PID: 10, Began: began.Add(time.Microsecond)},
	} {
		if got := i.String(); got != want {
			t.Errorf("%+v: %q, want %q", i, got, want)
		}
	}
}

// TestPolicyServerSeesData: for a policy server BDAT is DATA.
func TestPolicyServerSeesData(t *testing.T) {
	t.Parallel()
	s := startPolicy(t)
	e, _, _ := engine(t, "smtpd_data_restrictions = check_policy_service unix:"+s.path)
	r := stranger()
	r.Stage, r.RcptCount = "BDAT", 3
	e.Begin().Data(t.Context(), r)
	if asked := strings.Join(s.take(), ""); !strings.Contains(asked, "\nprotocol_state=DATA\n") || !strings.Contains(asked, "\nrecipient_count=3\n") {
		t.Errorf("asked %q", asked)
	}
}

// TestTraceAsksNobody: to explain a configuration is no reason for a policy
// server to remember a client.
func TestTraceAsksNobody(t *testing.T) {
	t.Parallel()
	s := startPolicy(t)
	e, _, _ := engine(t, "smtpd_recipient_restrictions = check_policy_service unix:"+s.path+", reject")
	c := e.Begin()
	var steps []string
	c.Trace(func(s Step) { steps = append(steps, s.Rule+": "+s.Outcome) })
	c.Recipient(t.Context(), stranger())
	if asked := s.take(); len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
	if want := "check_policy_service unix:" + s.path + ": not asked"; !slices.Contains(steps, want) {
		t.Errorf("steps %q", steps)
	}
}
