package smtp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"postroad/internal/dns"
)

// hostNamed is a HostMatcher for one name; that of nobody is an error.
type hostNamed string

func (h hostNamed) MatchHost(_ context.Context, name string, _ netip.Addr) (bool, error) {
	if h == "" {
		return false, errors.New("table is out of order")
	}
	return name == string(h), nil
}

// TestDebugPeer logs the dialogue with one server: every command and reply, no
// content, and nothing of a login.
func TestDebugPeer(t *testing.T) {
	t.Parallel()
	const user, password = "bob", "open sesame"
	logins := map[string][]string{
		"PLAIN":    {"< AUTH PLAIN AGJvYgBvcGVuIHNlc2FtZQ==", "> 235 in"},
		"LOGIN":    {"< AUTH LOGIN", "> 334 VXNlcm5hbWU6", "< Ym9i", "> 334 UGFzc3dvcmQ6", "< b3BlbiBzZXNhbWU=", "> 235 in"},
		"CRAM-MD5": {"< AUTH CRAM-MD5", "> 334 PGFAYj4=", "< Ym9iIDgwOGM3MzZiNzY4ODY5YmI4MDNhYzdhZDRiYzgwNjNj", "> 235 in"},
	}
	for mech, login := range logins {
		for _, host := range []hostNamed{"mx.test", "other.test", ""} {
			w := &world{t: t, hosts: map[string][]string{"mx.test": {"192.0.2.1"}}, mx: map[string][]dns.MXRecord{"example.test": {{Host: "mx.test"}}}}
			w.scripts = map[string][][]string{"192.0.2.1:25": {steps("> 220 mx.test", "< EHLO c.test", "> 250-mx.test", "> 250 AUTH "+mech, login,
				"< MAIL FROM:<a@c.test>", "> 250 ok\x01", rcptLine, "> 250 ok", "< DATA", finish, "< QUIT")}}
			cfg := w.config()
			cfg.Settings.SASLEnable, cfg.Passwords, cfg.Debug = true, fakeMaps{"mx.test": user + ":" + password}, host
			w.run(t.Context(), cfg, w.delivery("example.test", "b@example.test"))
			var got []string
			for _, line := range w.log.Lines() {
				if _, said, ok := strings.Cut(line, " mx.test[192.0.2.1]:25: "); ok {
					got = append(got, line[strings.LastIndexAny(line[:len(line)-len(said)], "<>"):][:1]+" "+said)
				}
			}
			want := ""
			if host == "mx.test" {
				want = "< 220 mx.test|> EHLO c.test|< 250-mx.test|< 250 AUTH " + mech + "|" + map[string]string{
					"PLAIN":    "> AUTH PLAIN (not shown)",
					"LOGIN":    "> AUTH LOGIN|< 334 VXNlcm5hbWU6|> (not shown)|< 334 UGFzc3dvcmQ6|> (not shown)",
					"CRAM-MD5": "> AUTH CRAM-MD5|< 334 PGFAYj4=|> (not shown)",
				}[mech] + "|< 235 in|> MAIL FROM:<a@c.test>|< 250 ok?|> " + rcptLine[2:] + "|< 250 ok|> DATA|< 354 go|> .|< 250 2.0.0 ok|> QUIT"
			}
			if strings.Join(got, "|") != want {
				t.Errorf("%s with %q:\n%s\nwant\n%s", mech, host, strings.Join(got, "|"), want)
			}
			if all := strings.Join(w.log.Lines(), "\n"); (host == "") != strings.Contains(all, "debug_peer_list: table is out of order") {
				t.Errorf("%q: %s", host, all)
			}
		}
	}
}
