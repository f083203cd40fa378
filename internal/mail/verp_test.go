package mail

import "testing"

func TestVERP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sender Address
		delims string
		r      Recipient
		want   Address
	}{
		{"list@here", "+=", Recipient{Address: "user@there"}, "list+user=there@here"},
		{"list@here", "-+", Recipient{Address: "new@there", Original: "old@there"}, "list-old+there@here"},
		{"list@here", "+=", Recipient{Address: "user@there", Original: "user"}, "list+user@here"},
		{"list", "+=", Recipient{Address: "user@there"}, "list+user=there"},
		{"", "+=", Recipient{Address: "user@there"}, ""},
		{"list@here", "", Recipient{Address: "user@there"}, "list@here"},
	} {
		if got := VERP(tt.sender, tt.delims, &tt.r); got != tt.want {
			t.Errorf("%s %s %v: %s, want %s", tt.sender, tt.delims, tt.r, got, tt.want)
		}
	}
}
