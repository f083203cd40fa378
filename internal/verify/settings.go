package verify

import "time"

// Settings are the main.cf parameters that verify(8) reads.
type Settings struct {
	// Map is where Postfix keeps what it knows. Here it is kept with the queue,
	// or in memory when the parameter is empty.
	Map string `postconf:"address_verify_map"`
	// NegativeCache keeps failures too.
	NegativeCache bool `postconf:"address_verify_negative_cache"`
	// After Refresh an entry is used and probed again, after Expire it is not
	// used any more.
	PositiveExpire  time.Duration `postconf:"address_verify_positive_expire_time"`
	PositiveRefresh time.Duration `postconf:"address_verify_positive_refresh_time"`
	NegativeExpire  time.Duration `postconf:"address_verify_negative_expire_time"`
	NegativeRefresh time.Duration `postconf:"address_verify_negative_refresh_time"`
	// Cleanup is the time between two looks for expired entries, 0 for none.
	Cleanup time.Duration `postconf:"address_verify_cache_cleanup_interval"`
	// Sender is what probes are sent from; with a SenderTTL the address changes
	// that often.
	Sender    string        `postconf:"address_verify_sender"`
	SenderTTL time.Duration `postconf:"address_verify_sender_ttl"`
}
