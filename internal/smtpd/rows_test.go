package smtpd

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What an SMTP server must withstand, and the tests that show it. Elsewhere are
// meant: wire = internal/wire, scn = a scenario of package test, campaign =
// TestHostile there, sweep = TestSweep there.
//
//	wrong ends of data                   TestSmuggling, FuzzDialogue, wire TestDataReader, scn smuggling-*, stray-cr
//	... at every split of the stream     TestSmugglingSplit, wire FuzzDataReader
//	body before the 354                  TestTranscripts "body before 354", scn pipelining
//	talk before the greeting             TestEarlyTalker, scn greeting, postscreen-pregreet, campaign
//	commands behind STARTTLS             TestStartTLSInjection, FuzzDialogue, scn starttls
//	STARTTLS left in the middle          campaign, TestSlow "handshake"
//	state of BDAT                        TestChunkAfterFailure, TestPairs, FuzzDialogue, scn bdat
//	BDAT that lies about its size        TestTranscripts "bad chunk", TestOversize, campaign
//	millions of tiny chunks              TestOversize "tiny chunks"
//	state of the envelope                TestPairs, FuzzDialogue, FuzzStates
//	pipelining out of turn               TestTranscripts, FuzzDialogue, scn pipelining, campaign
//	other protocols (HTTP, headers)      TestTranscripts "web client", scn http-client
//	oversize commands, content, lists    TestOversize, scn command-errors, recipient-limit, size-limit, campaign
//	slow clients in every state          TestSlow, TestTimes, scn timeouts, campaign
//	a client that does not read          TestDeaf, campaign
//	XCLIENT, XFORWARD, PROXY of others   TestTranscripts "stranger's XCLIENT", TestUpstreamProxy, wire FuzzProxy, scn xclient, xforward, proxy-protocol
//	relaying by tricks of the address    TestNoRelay, sweep, scn rcpt-syntax, relay-denied
//	AUTH: NUL, cancel, size, twice       TestOversize "response", FuzzDialogue, FuzzStates, scn auth-*
//	lines of the log made by clients     FuzzStates, scn command-errors
//	too many connections, processes      TestCountUnderLoad, TestStress, scn anvil-limits, concurrency-limit, campaign
//	a panic                              TestPanic
//	a full or broken disk                TestDiskFull, TestReadOnlySpool in package test

// TestPairs goes through every two moves of a client from every state that a
// message passes, on every server of the dialogues.
func TestPairs(t *testing.T) {
	t.Parallel()
	room := newDialogueRoom(t)
	var prefix []byte
	for _, first := range []string{"", "EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<joe@mx.test>", "BDAT 5 (chunk)"} {
		prefix = append(prefix, moves(first)...)
		for a := range utterances {
			for b := range utterances {
				room.talk(t, (a+b)%len(dialogueConfigs), append(append(append([]byte(nil), prefix...), byte(a), byte(b)),
					moves("RCPT TO:<joe@mx.test>", "(data)", "BDAT 5 LAST (chunk)")...))
			}
		}
	}
}

// TestOversize sends more than anybody should of everything. The server answers or
// hangs up, and keeps next to nothing of it.
func TestOversize(t *testing.T) {
	const hello, letter = "EHLO a\r\n", "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\n"
	big := strings.Repeat("x", 1<<16)
	tests := []struct {
		name, begin, more string
		times             int
		end, want         string
	}{
		{"command", hello, big, 1000, "\r\n", "500 5.5.2 Error: line too long\r\n"},
		{"EHLO", "", "EHLO " + big, 1000, "\r\n", "500 5.5.2 Error: line too long\r\n"},
		{"one line of content", letter + "DATA\r\n", big, 1000, "\r\n.\r\nQUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"one header", letter + "DATA\r\nSubject: ", big, 1000, "\r\n\r\n.\r\nQUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"headers", letter + "DATA\r\n", strings.Repeat("X: y\r\n", 1000), 1000, ".\r\nQUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"recipients", letter, "RCPT TO:<" + big[:500] + "@mx.test>\r\n", 10000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"recipients that are not there", letter, "RCPT TO:<x@far.test>\r\n", 10000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"parameters", hello, "MAIL FROM:<a@b.test> " + strings.Repeat("X=1 ", 200) + "\r\n", 5000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"a chunk that is refused", "EHLO a\r\nBDAT 65536000\r\n", big, 1000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"a chunk that is too big", letter + "BDAT 65536000 LAST\r\n", big, 1000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"tiny chunks", letter, "BDAT 1\r\nx", 60000, "BDAT 0 LAST\r\nQUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"null chunks", letter, "BDAT 0\r\n", 30000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
		{"response", "EHLO a\r\nAUTH PLAIN\r\n", big, 1000, "\r\n", "500 5.5.6 SASL response limit exceeded\r\n"},
		{"RSET", hello, "RSET\r\n", 60000, "QUIT\r\n", "221 2.0.0 Bye\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv, _ := newServer(t, "smtpd_forbid_unauth_pipelining = no\nsmtpd_hard_error_limit = 1000000\nsmtpd_soft_error_limit = 1000000\n"+
				"smtpd_junk_command_limit = 1000000\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postroad\nsmtpd_sasl_path = inline:{ {joe = {PLAIN}secret} }\n")
			srv.Cleanup = sinkhole{}
			before := heap()
			ours, theirs := net.Pipe()
			heard, peak := make(chan string), uint64(0)
			// goroutine: keeps the last reply; ends with the connection.
			go func() {
				var last []byte
				buf := make([]byte, 4096)
				for {
					n, err := ours.Read(buf)
					last = append(last, buf[:n]...)
					last = last[max(0, len(last)-200):]
					if err != nil {
						heard <- string(last)
						return
					}
				}
			}()
			// goroutine: the client; ends with the connection.
			go func() {
				_, err := io.WriteString(ours, tt.begin)
				for i := 0; err == nil && i < tt.times; i++ {
					if _, err = io.WriteString(ours, tt.more); i == tt.times*9/10 {
						peak = heap()
					}
				}
				_, _ = io.WriteString(ours, tt.end) // the server may be gone
			}()
			srv.ServeConn(context.Background(), theirs)
			if got := <-heard; !strings.HasSuffix(got, tt.want) {
				t.Errorf("the last reply is %q, want %q", got, tt.want)
			}
			if peak > before+1<<20 {
				t.Errorf("%d KiB are kept", (peak-before)>>10)
			}
		})
	}
}

// heap is the memory in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestSlow sends a byte every nine seconds in every state of the protocol. Each
// byte comes in time, and the whole does not.
func TestSlow(t *testing.T) {
	t.Parallel()
	chain := certificate(t)
	for _, tt := range []struct{ name, begin, drip string }{
		{"command", "", "EHLO slow.test"},
		{"MAIL", "EHLO a\r\n", "MAIL FROM:<a@b.test>"},
		{"content", "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\n", "Subject: x"},
		{"chunk", "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nBDAT 1000\r\n", "Subject: x"},
		{"refused chunk", "EHLO a\r\nBDAT 1000\r\n", "Subject: x"},
		{"response", "EHLO a\r\nAUTH PLAIN\r\n", "AGpvZQBzZWNyZXQ"},
		{"handshake", "EHLO a\r\nSTARTTLS\r\n", "\x16\x03\x01\x01\x00\x01\x00\x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, s := newServer(t, "smtpd_timeout = 100s\nsmtpd_starttls_timeout = 100s\nsmtpd_per_request_deadline = yes\n"+
					"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+chain+"\n"+
					"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postroad\nsmtpd_sasl_path = inline:{ {joe = {PLAIN}secret} }\n")
				ours, theirs := net.Pipe()
				e := listenTo(ours)
				began := time.Now()
				// goroutine: the client; ends with the connection.
				go func() {
					for _, line := range strings.SplitAfter(tt.begin, "\n") {
						time.Sleep(time.Millisecond) // its reply comes first
						_, _ = io.WriteString(ours, line)
					}
					for i := 0; ; i++ {
						time.Sleep(9 * time.Second)
						if _, err := ours.Write([]byte{tt.drip[i%len(tt.drip)]}); err != nil {
							return
						}
					}
				}()
				srv.ServeConn(context.Background(), theirs)
				if d := time.Since(began); d < 100*time.Second || d > 110*time.Second {
					t.Errorf("it ends after %v: %q", d, e.take())
				}
				if len(s.done) > 0 {
					t.Errorf("queued %q", s.done)
				}
				synctest.Wait()
				time.Sleep(10 * time.Second) // the client sees the end
			})
		})
	}
}

// TestDeaf is a client that does not read.
func TestDeaf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newServer(t, "smtpd_timeout = 100s\n")
		ours, theirs := net.Pipe()
		began := time.Now()
		srv.ServeConn(context.Background(), theirs)
		if d := time.Since(began); d < 100*time.Second || d > 102*time.Second {
			t.Errorf("it ends after %v", d)
		}
		_ = ours.Close()
	})
}

// TestNoRelay tries every known trick to make the server relay. What it accepts is
// for one of its own users.
func TestNoRelay(t *testing.T) {
	t.Parallel()
	srv, s := newServer(t, "")
	for _, rcpt := range []string{
		"user@far.test", "user%far.test@mx.test", "far.test!user@mx.test", "far.test!user", "\"user@far.test\"", "\"user@far.test\"@mx.test",
		"user@mx.test@far.test", "user@far.test@mx.test", "user\\@far.test@mx.test", "@mx.test:user@far.test", "@mx.test,@b.test:user@far.test",
		"user%far.test", "user%far.test%mx.test", "user@far.test.", "user@[203.0.113.7]", "user@203.0.113.7", "\"user%far.test\"@mx.test",
		"\"far.test!user\"@mx.test", "user%far.test@", "user@far.test%", "=?utf-8?q?user=40far.test?=@far.test", "user@xn--far-3ja.test",
		"user\uff20far.test", "user@mx.test\x00@far.test", "user@far.test> <user@mx.test", "user@far.test (mx.test)", "mx.test:user@far.test", "'user@far.test'@far.test",
	} {
		out := converse(t, srv, "EHLO a\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<"+rcpt+">\r\n", "DATA\r\n", ".\r\n")
		if i := len(s.done); i > 0 {
			if got := s.done[i-1]; strings.Contains(got, "@far.test") && !strings.Contains(got, "@mx.test> ") || strings.Contains(got, "203.0.113.7") {
				t.Errorf("<%s> is relayed: %s", rcpt, got)
			}
			s.done = nil
			if !strings.Contains(rcpt, "mx.test") && !strings.HasSuffix(rcpt, "@far.test\"") && strings.Contains(rcpt, "@") {
				t.Errorf("<%s> is accepted\n%s", rcpt, out)
			}
		}
	}
}
