package testkit

import "testing"

func TestMunger(t *testing.T) {
	t.Parallel()
	m := NewMunger()
	for _, line := range []string{
		"Nov 25 04:31:31 mx postfix/pickup[143]: 82DA231: uid=0 from=<root>",
		"Nov 25 04:31:31 mx postfix/smtpd[143]: NOQUEUE: reject: x",
		"Nov 25 04:31:31 mx postfix/smtpd[143]: warning: 3Pt2mN2VXxznjll: odd",
		"250 2.0.0 Ok: queued as C0FFEE42",
		"4BADBEEF*      247 Wed Nov 25 04:31:31  root",
		`{"queue_name": "hold", "queue_id": "ABCDEF12", "x": 1}`,
		"postfix/qmgr[1]: statistics: nothing",
	} {
		m.Learn(line)
	}
	for _, c := range []struct{ in, want string }{
		{"Nov 25 04:31:31 mx postfix/qmgr[144]: 82DA231: from=<a@b>, size=247, nrcpt=1 (queue active)",
			"mx postfix/qmgr: QID1: from=<a@b>, size=S, nrcpt=1 (queue active)"},
		{"<20261125043131.82DA231@mx.example.test>", "<TIME.QID1@mx.example.test>"},
		{`boundary="82DA231.1764044911/mx"`, `boundary="QID1.EPOCH/mx"`},
		{"3Pt2mN2VXxznjll and C0FFEE42 and XC0FFEE42", "QID2 and QID3 and XC0FFEE42"},
		{"Date: Wed, 25 Nov 2026 04:31:31 +0000 (UTC)", "Date: DATE"},
		{"From root  Wed Nov 25 04:31:31 2026", "From root  CTIME"},
		{"4BADBEEF*      247 Wed Nov 25 04:31:31  root", "QID4* SIZE CTIME root"},
		{`{"queue_id": "ABCDEF12", "arrival_time": 17, "message_size": 5}`, `{"queue_id": "QID5", "arrival_time": TIME, "message_size": SIZE}`},
		{"delay=0.01, delays=0.01/0/0/0, dsn=2.0.0", "delay=D, delays=D, dsn=2.0.0"},
		{"MAIL FROM:<a@b> BODY=8BITMIME SIZE=303", "MAIL FROM:<a@b> BODY=8BITMIME SIZE=S"},
		{"-- 12 Kbytes in 3 Requests.", "-- N Kbytes in 3 Requests."},
		{"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature ECDSA (P-256) server-digest SHA256", "TLSv1.3 with CIPHER KEYEXCHANGE"},
		{"Nov 25 04:31:31 mx postfix/postscreen[9]: PREGREET 8 after 0.01 from [192.0.2.1]:49339: EHLO x", "mx postfix/postscreen: PREGREET 8 after T from [192.0.2.1]:PORT: EHLO x"},
		{"the mail system is running: PID: 4711", "the mail system is running: PID: PID"},
	} {
		if got := m.Text(c.in); got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

func TestIsQueueID(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]bool{
		"82DA231": true, "E6BA653A086": true, "3Pt2mN2VXxznjll": true,
		"statistics": false, "warning": false, "ABC": false, "no-id-1": false, "connect": false, "improperz": false,
	} {
		if got := IsQueueID(word); got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
}

func FuzzMunger(f *testing.F) {
	f.Add("Nov 25 04:31:31 mx postfix/qmgr[144]: 82DA231: from=<a@b>, size=247", "82DA231 x")
	f.Fuzz(func(t *testing.T, learn, line string) {
		m := NewMunger()
		m.Learn(learn)
		once := m.Text(line)
		if m.Text(line) != once {
			t.Errorf("%q is not munged alike twice", line)
		}
	})
}
