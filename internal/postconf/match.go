package postconf

import "strings"

// matchService reports whether a list such as master_service_disable has a
// pattern that fits the service: "name/type" or a type alone, each with any
// number of "!" before it. The first pattern that fits counts.
func matchService(list []string, s *Service) bool {
	for _, pattern := range list {
		if strings.IndexByte(pattern, '/') < 0 {
			// Former releases wrote name.type.
			if i := strings.LastIndexByte(pattern, '.'); i >= 0 {
				pattern = pattern[:i] + "/" + pattern[i+1:]
			}
		}
		bare := strings.TrimLeft(pattern, "!")
		text := s.Type
		if strings.IndexByte(bare, '/') >= 0 {
			text = s.ID()
		}
		if strings.EqualFold(text, bare) {
			return (len(pattern)-len(bare))%2 == 0
		}
	}
	return false
}
