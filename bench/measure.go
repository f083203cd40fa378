package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// group is a control group that counts the CPU of a subject.
type group struct {
	dir, file string
	v2        bool
}

// newGroup makes a control group, of whichever version the machine has.
func newGroup(name string) (*group, error) {
	for _, g := range []*group{
		{dir: "/sys/fs/cgroup/cpuacct/" + name, file: "cpuacct.usage"},
		{dir: "/sys/fs/cgroup/cpu,cpuacct/" + name, file: "cpuacct.usage"},
		{dir: "/sys/fs/cgroup/" + name, file: "cpu.stat", v2: true},
	} {
		if _, err := os.Stat(filepath.Dir(g.dir)); err != nil {
			continue
		}
		if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			continue
		}
		if _, err := g.cpu(); err == nil {
			return g, nil
		}
		_ = os.Remove(g.dir) // it was not what we looked for
	}
	return nil, errors.New("no control group for CPU time")
}

// cpu is the CPU time used so far.
func (g *group) cpu() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, g.file))
	if err != nil {
		return 0, err
	}
	if !g.v2 {
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return time.Duration(n), err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, errors.New("no usage_usec")
}

// remove takes the group away; its processes are dead by then.
func (g *group) remove() { _ = os.Remove(g.dir) }

// memory is the peak of what the subject's processes hold together, in KiB.
type memory struct {
	mu       sync.Mutex
	pss, rss int64
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// watchMemory samples until Stop.
func watchMemory(ctx context.Context, b *box.Box) *memory {
	ctx, cancel := context.WithCancel(ctx)
	m := &memory{stop: cancel}
	m.done.Add(1)
	// goroutine: ends when Stop cancels the context.
	go func() {
		defer m.done.Done()
		testkit.Poll(ctx, 300*time.Millisecond, func() bool {
			pss, rss := held(b)
			m.mu.Lock()
			m.pss, m.rss = max(m.pss, pss), max(m.rss, rss)
			m.mu.Unlock()
			return false
		})
	}()
	return m
}

// Stop ends the sampling and returns the peaks.
func (m *memory) Stop() (pss, rss int64) {
	m.stop()
	m.done.Wait()
	return m.pss, m.rss
}

// held is what the subject's processes hold now, in KiB.
func held(b *box.Box) (pss, rss int64) {
	pids, err := b.Processes()
	if err != nil {
		return 0, 0
	}
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				continue
			}
			switch f[0] {
			case "Pss:":
				pss += n
			case "Rss:":
				rss += n
			}
		}
	}
	return pss, rss
}

// flushes is the number of cache flushes that the disks have done: the sign
// that fsync reaches them.
func flushes() int64 {
	f, err := os.Open("/proc/diskstats")
	if err != nil {
		return 0
	}
	defer f.Close()
	var sum int64
	for in := bufio.NewScanner(f); in.Scan(); {
		w := strings.Fields(in.Text())
		if len(w) < 19 || strings.HasPrefix(w[2], "loop") || strings.HasPrefix(w[2], "ram") {
			continue
		}
		n, err := strconv.ParseInt(w[18], 10, 64)
		if err == nil {
			sum += n
		}
	}
	return sum
}

// busy is the CPU time that the whole machine has spent so far.
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line)
	var ticks int64
	// user nice system (idle iowait) irq softirq: hundredths of a second.
	for _, i := range []int{1, 2, 3, 6, 7} {
		if i >= len(f) {
			return 0
		}
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ours is the CPU time that this process, its children that have ended, and
// the process pid have used.
func ours(pid int) time.Duration {
	var ticks int64
	for _, p := range []int{os.Getpid(), pid} {
		st, err := testkit.ReadStat(p)
		if err != nil {
			continue
		}
		ticks += st.UserTicks + st.SystemTicks
		if p != pid {
			ticks += st.ChildrenUserTicks + st.ChildrenSystemTicks
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// diskUse is the number of bytes that files below dir occupy.
func diskUse(ctx context.Context, b *box.Box, dir string) (int64, error) {
	out, err := b.Must(ctx, "du -s -B1 "+dir)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.Fields(out.Stdout)[0], 10, 64)
}
