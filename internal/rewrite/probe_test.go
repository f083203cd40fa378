package rewrite

import (
	"testing"

	"postroad/internal/mail"
)

// TestProbes: probes go by parameters of their own, which follow the others
// unless they are set.
func TestProbes(t *testing.T) {
	t.Parallel()
	plain, _ := build(t)
	own, _ := build(t, [][2]string{
		{"address_verify_relayhost", "[probe.test]"}, {"address_verify_local_transport", "plocal:x"},
		{"address_verify_virtual_transport", "pvirtual"}, {"address_verify_relay_transport", "prelay:y"},
		{"address_verify_default_transport", "psmtp"}, {"address_verify_transport_maps", "inline:{{gone.test=smtp:[here.test]}}"},
		{"address_verify_sender_dependent_relayhost_maps", "inline:{{@sender.test=[bysender.test]}}"},
		{"address_verify_sender_dependent_default_transport_maps", "inline:{{@other.test=ptransport}}"},
	}...)
	for _, test := range []struct{ sender, rcpt, want string }{
		{"", "joe@example.com", "plocal:x"},
		{"", "user@vmbox.test", "pvirtual:vmbox.test"},
		{"", "a@a.relay.test", "prelay:y"},
		{"", "a@far.test", "psmtp:[probe.test]"},
		{"a@sender.test", "a@far.test", "psmtp:[bysender.test]"},
		{"a@other.test", "a@far.test", "ptransport:[probe.test]"},
		{"", "a@gone.test", "smtp:[here.test]"},
	} {
		r, err := own.Probes().Lookup(t.Context(), mail.Address(test.sender), mail.Address(test.rcpt))
		if got := string(r.Transport) + ":" + string(r.Nexthop); got != test.want || err != nil {
			t.Errorf("%s to %s: %s, want %s, %v", test.sender, test.rcpt, got, test.want, err)
		}
		way, err := own.Lookup(t.Context(), mail.Address(test.sender), mail.Address(test.rcpt))
		if err != nil || way.Transport == r.Transport && way.Nexthop == r.Nexthop {
			t.Errorf("%s to %s: mail goes the way of probes: %+v, %v", test.sender, test.rcpt, way, err)
		}
		probe, err := plain.Probes().Lookup(t.Context(), "", mail.Address(test.rcpt))
		same, sameErr := plain.Lookup(t.Context(), "", mail.Address(test.rcpt))
		if err != nil || sameErr != nil || probe != same {
			t.Errorf("%s: %+v and %+v, %v, %v", test.rcpt, probe, same, err, sameErr)
		}
	}
}
