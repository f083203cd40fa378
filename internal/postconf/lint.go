package postconf

// lint is filled in below.
func (c *Config) lint(known map[string]bool) []Problem { return nil }
