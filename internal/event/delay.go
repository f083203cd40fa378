package event

import "time"

// DefaultDelayDigits is the default of delay_logging_resolution_limit.
const DefaultDelayDigits = 2

// delaySignificant is the number of significant digits of a short delay.
const delaySignificant = 2

// AppendDelay appends d in seconds as Postfix logs delays: two significant
// digits at most, digits decimals at most, whole seconds from ten seconds on,
// rounded half up, no trailing zeros. A negative delay (the clock went back)
// is zero.
func AppendDelay(dst []byte, d time.Duration, digits int) []byte {
	micros := max(d.Microseconds(), 0)
	step := delayStep(micros, min(max(digits, 0), 6))
	micros = (micros + step/2) / step * step
	dst = AppendInt(dst, int(micros/1e6))
	rest := micros % 1e6
	if rest == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := int64(1e5); rest > 0; unit /= 10 {
		dst = append(dst, byte('0'+rest/unit))
		rest %= unit
	}
	return dst
}

// delayStep is the resolution, in microseconds, at which a delay is printed.
func delayStep(micros int64, digits int) int64 {
	step := int64(1e6)
	for range digits {
		step /= 10
	}
	if step == 1e6 {
		return step
	}
	if micros >= 1e6 {
		// One second or more: seconds take one significant digit each.
		step = 1e6
		for n, sec := delaySignificant, micros/1e6; n > 0 && sec < pow10(delaySignificant-1); n, sec = n-1, sec*10 {
			step /= 10
		}
		return step
	}
	for micros >= step*pow10(delaySignificant) {
		step *= 10
	}
	return step
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}
