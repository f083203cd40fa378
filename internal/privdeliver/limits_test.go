package privdeliver

import (
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	mbox := &Limits{Spool: "/var/mail", Mailbox: "/var/mail/root", Forward: "/root/.forward"}
	dir := &Limits{Spool: "/var/mail", Mailbox: "/root/Maildir/", Forward: "/root/.forward"}
	tests := []struct {
		l    *Limits
		r    Request
		want bool
	}{
		{mbox, Request{Kind: Mbox, Path: "/var/mail/root"}, true},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/alice", Owner: 1000, Group: 100}, true},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/alice"}, false},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/alice", Owner: -1}, false},
		{mbox, Request{Kind: Mbox, Path: "/etc/shadow"}, false},
		{mbox, Request{Kind: Mbox, Path: "/etc/shadow", Owner: 1000, Group: 100}, false},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/../../etc/shadow", Owner: 1000, Group: 100}, false},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/a/b", Owner: 1000, Group: 100}, false},
		{mbox, Request{Kind: Maildir, Path: "/root/Maildir", Name: "x"}, false},
		{dir, Request{Kind: Maildir, Path: "/root/Maildir", Name: "x"}, true},
		{dir, Request{Kind: Sync, Path: "/root/Maildir", Name: "x"}, true},
		{dir, Request{Kind: Maildir, Path: "/root/Maildir", Name: "../../.ssh/authorized_keys"}, false},
		{dir, Request{Kind: Maildir, Path: "/root/Maildir"}, false},
		{dir, Request{Kind: Maildir, Path: "/root", Name: "x"}, false},
		{dir, Request{Kind: Mbox, Path: "/root/Maildir"}, false},
		{dir, Request{Kind: Read, Path: "/root/.forward"}, true},
		{dir, Request{Kind: Read, Path: "/root/.forward+ext"}, true},
		{dir, Request{Kind: Read, Path: "/root/.forward/x"}, false},
		{mbox, Request{Kind: Mbox, Path: "/var/mail/alice", Owner: 1000}, false},
		{dir, Request{Kind: Read, Path: "/etc/shadow"}, false},
		{dir, Request{Kind: Read}, false},
		{dir, Request{Kind: Command, Path: "/root/.forward", Argv: []string{"/bin/true"}}, false},
	}
	for _, tt := range tests {
		if got := tt.l.allow(&tt.r); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.r, got, tt.want)
		}
	}
	res := dir.do(&Request{Kind: Read, Path: "/etc/shadow"}, strings.NewReader(""))
	if res.Class != Permission || len(res.Output) > 0 {
		t.Errorf("%+v", res)
	}
}
