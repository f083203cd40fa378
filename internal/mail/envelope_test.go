package mail

import "testing"

func TestNotifyWants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		asked, report Notify
		want          bool
	}{
		{0, NotifyFailure, true}, {0, NotifyDelay, true}, {NotifyFailure, NotifyFailure, true}, {NotifyFailure, NotifyDelay, false},
		{NotifyDelay | NotifySuccess, NotifyDelay, true}, {NotifySuccess, NotifyDelay | NotifySuccess, true},
		{NotifyNever, NotifyFailure, false}, {NotifyNever | NotifyFailure, NotifyFailure, false},
	} {
		if got := tt.asked.Wants(tt.report); got != tt.want {
			t.Errorf("%v wants %v: %v", tt.asked, tt.report, got)
		}
	}
}
