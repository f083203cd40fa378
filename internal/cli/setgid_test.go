package cli

import (
	"slices"
	"testing"
)

func TestElevated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		e    Env
		want bool
	}{
		{Env{UID: 1000, EUID: 1000, GID: 1000, EGID: 1000}, false},
		{Env{UID: 1000, EUID: 1000, GID: 1000, EGID: 120}, true},
		{Env{UID: 1000, EUID: 0, GID: 1000, EGID: 1000}, true},
		{Env{UID: 0, EUID: 0, GID: 0, EGID: 120}, false},
		{Env{UID: 0, EUID: 0, GID: 0, EGID: 0}, false},
	} {
		if got := tt.e.elevated(); got != tt.want {
			t.Errorf("%+v: %t", tt.e, got)
		}
	}
}

// TestSetgidCommands: these and no others may run with the group of the maildrop.
func TestSetgidCommands(t *testing.T) {
	t.Parallel()
	var got []string
	for _, c := range Commands() {
		if c.Setgid {
			got = append(got, c.Name)
		}
	}
	if want := []string{"postdrop", "postqueue"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	e := &Env{Environ: []string{
		"PATH=/evil", "GODEBUG=gctrace=1", "GOTRACEBACK=crash", "TZ=Europe/Berlin", "MAIL_CONFIG=/etc/other", "LANG=C", "MAIL_VERBOSE=1",
		"LD_PRELOAD=x.so", "ZONEINFO=/evil", "NAME=Evil",
	}}
	if got, want := e.trusted(), []string{"MAIL_CONFIG=/etc/other", "TZ=Europe/Berlin", "LANG=C"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for tz, want := range map[string]bool{
		"UTC": true, "CET-1CEST,M3.5.0,M10.5.0/3": true, ":/etc/shadow": false, "/etc/shadow": false, "../../etc/shadow": false, ":UTC": false,
	} {
		if safeZone(tz) != want {
			t.Errorf("TZ=%s: %t", tz, !want)
		}
	}
}

func TestImported(t *testing.T) {
	t.Parallel()
	environ := []string{"TZ=UTC", "LANG=de", "MAIL_CONFIG=/x"}
	got := imported(environ, []string{"TZ", "LANG=C", "DISPLAY"})
	if want := []string{"TZ=UTC", "LANG=C"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
