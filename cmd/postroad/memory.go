package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupLimit is where the kernel says how much memory this process may have with
// others of its group.
const cgroupLimit = "/sys/fs/cgroup/memory.max"

// memory is how much there is for this server, in bytes: that of the machine, or
// of the group it runs in. 0 when it cannot be known.
func memory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	total := uint64(info.Totalram) * uint64(info.Unit)
	text, err := os.ReadFile(cgroupLimit)
	if err != nil {
		return total
	}
	return bounded(total, string(text))
}

// bounded is how much of the memory the group may have; "max" is all of it.
func bounded(total uint64, text string) uint64 {
	if limit, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil && limit < total {
		return limit
	}
	return total
}

// leastTable is the least useful size of the queue's table in memory.
const leastTable = 4 << 20

// boundMemory has the collector work harder before the machine is full, and returns
// the size of the queue's table in memory that suits it: 1/64, which is little
// enough to have four of them and as much garbage. What GOMEMLIMIT says goes first.
func boundMemory() (memTable uint64) {
	total := memory()
	if total == 0 {
		return 0
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(total / 2))
	}
	return max(total/64, leastTable)
}
