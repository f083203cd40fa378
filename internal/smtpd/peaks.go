package smtpd

import (
	"context"
	"time"

	"postroad/internal/event"
)

// peak is the most that was counted, of whom and when.
type peak struct {
	value int
	unit  time.Duration
	key   rateKey
	when  time.Time
}

// peaks are what anvil(8) reports now and then.
type peaks struct {
	rates [rateEvents]peak
	count peak
	cache peak
}

// note takes a rate; the peaks are guarded by the lock of Rates.
func (p *peaks) note(what rateEvent, n int, unit time.Duration, key rateKey) {
	if n > p.rates[what].value {
		p.rates[what] = peak{n, unit, key, time.Now()}
	}
}

func (p *peaks) connections(n int, key rateKey) {
	if n > p.count.value {
		p.count = peak{value: n, key: key, when: time.Now()}
	}
}

func (p *peaks) size(n int, now time.Time) {
	if n > p.cache.value {
		p.cache = peak{value: n, when: now}
	}
}

// String is how the log names whom is counted.
func (k rateKey) String() string {
	client := "unknown"
	switch p := k.network; {
	case !p.IsValid():
	case p.IsSingleIP():
		client = p.Addr().String()
	default:
		client = p.String()
	}
	return k.service + ":" + client
}

// peakStamp is how the log writes the time of a peak.
const peakStamp = "Jan _2 15:04:05"

// Report logs the peaks of each interval, whose length a reload may change, and the
// last ones when ctx ends.
func (r *Rates) Report(ctx context.Context, every func() time.Duration, log *event.Logger) {
	t := time.NewTimer(every())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.report(log)
			t.Reset(every())
		case <-ctx.Done():
			r.report(log)
			return
		}
	}
}

// report logs the peaks and forgets them.
func (r *Rates) report(log *event.Logger) {
	r.mu.Lock()
	p := r.peaks
	r.peaks = peaks{}
	r.mu.Unlock()
	rate := func(name string, what rateEvent) {
		if k := p.rates[what]; k.value > 0 {
			log.Infof("statistics: max %s rate %d/%ds for (%s) at %s", name, k.value, int(k.unit.Seconds()), k.key, k.when.Format(peakStamp))
		}
	}
	rate("connection", rateConnection)
	if k := p.count; k.value > 0 {
		log.Infof("statistics: max connection count %d for (%s) at %s", k.value, k.key, k.when.Format(peakStamp))
	}
	rate("message", rateMessage)
	rate("recipient", rateRecipient)
	rate("newtls", rateTLS)
	rate("auth", rateAuth)
	if k := p.cache; k.value > 0 {
		log.Infof("statistics: max cache size %d at %s", k.value, k.when.Format(peakStamp))
	}
}
