package testkit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ProcStat is what /proc says about one process.
type ProcStat struct {
	PID, Parent int
	Name        string
	State       byte
	// UserTicks and SystemTicks are the CPU time used, in clock ticks (100 a
	// second); the Children fields are those of children that were waited for.
	UserTicks, SystemTicks                 int64
	ChildrenUserTicks, ChildrenSystemTicks int64
	// ResidentPages is the resident set in pages.
	ResidentPages int64
}

// ReadStat reads /proc/PID/stat.
func ReadStat(pid int) (ProcStat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ProcStat{}, err
	}
	return parseStat(string(raw))
}

// parseStat takes the line of /proc/PID/stat apart; the name in parentheses
// may hold blanks and parentheses itself.
func parseStat(s string) (ProcStat, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return ProcStat{}, fmt.Errorf("malformed stat line %q", s)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(s[:open]))
	if err != nil {
		return ProcStat{}, err
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 22 {
		return ProcStat{}, fmt.Errorf("short stat line %q", s)
	}
	st := ProcStat{PID: pid, Name: s[open+1 : end], State: f[0][0]}
	parent, err := strconv.Atoi(f[1])
	if err != nil {
		return ProcStat{}, err
	}
	st.Parent = parent
	for _, x := range []struct {
		at  int
		dst *int64
	}{{11, &st.UserTicks}, {12, &st.SystemTicks}, {13, &st.ChildrenUserTicks}, {14, &st.ChildrenSystemTicks}, {21, &st.ResidentPages}} {
		if *x.dst, err = strconv.ParseInt(f[x.at], 10, 64); err != nil {
			return ProcStat{}, err
		}
	}
	return st, nil
}

// Descendants lists pid and all processes below it, as /proc shows them now.
func Descendants(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := ReadStat(n); err == nil {
			children[st.Parent] = append(children[st.Parent], n)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}
