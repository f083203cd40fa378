package agent

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Syncs makes delivered files durable, many at a time: one syncfs(2) for all
// that wait on a file system costs about as much as one fsync(2), and there is a
// file per message. One that waits alone is synced alone, because syncfs also
// writes what others have left.
type Syncs struct {
	mu      sync.Mutex
	waiting []*unsynced
	running bool
	// roots are open directories by file system. They stay open: an error of the
	// file system is reported to those who had opened it before (syncfs(2)).
	roots map[uint64]*os.File
	// plain tells that the kernel's syncfs does not report errors (before 5.8).
	plain bool
}

// unsynced is one file that waits.
type unsynced struct {
	device uint64
	path   string
	// alone syncs this file by itself.
	alone func() error
	done  chan error
}

// minTogether is from how many files on a file system are synced as a whole.
const minTogether = 3

// maxAlone bounds the files that are synced one by one at the same time.
const maxAlone = 16

// NewSyncs returns a Syncs.
func NewSyncs() *Syncs {
	return &Syncs{roots: map[uint64]*os.File{}, plain: !syncfsReports()}
}

// Sync returns when the file path on a device is durable. alone does it for this
// file by itself.
func (s *Syncs) Sync(device uint64, path string, alone func() error) error {
	if s == nil || s.plain || device == 0 {
		return alone()
	}
	u := &unsynced{device: device, path: path, alone: alone, done: make(chan error, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, u)
	if !s.running {
		s.running = true
		// goroutine: serves what waits; ends when nothing does.
		go s.run()
	}
	s.mu.Unlock()
	return <-u.done
}

func (s *Syncs) run() {
	for {
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		s.running = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		byDevice := map[uint64][]*unsynced{}
		for _, u := range batch {
			byDevice[u.device] = append(byDevice[u.device], u)
		}
		for device, files := range byDevice {
			s.device(device, files)
		}
	}
}

// device syncs the files of one file system.
func (s *Syncs) device(device uint64, files []*unsynced) {
	if len(files) >= minTogether {
		if root := s.root(device, files); root != nil && unix.Syncfs(int(root.Fd())) == nil {
			for _, u := range files {
				u.done <- nil
			}
			return
		}
	}
	// Each learns its own truth, also after the file system reported an error.
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxAlone)
	for _, u := range files {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			u.done <- u.alone()
		})
	}
	wg.Wait()
}

// root returns an open directory on the file system: the nearest one above a
// file that this process may open.
func (s *Syncs) root(device uint64, files []*unsynced) *os.File {
	if root := s.roots[device]; root != nil {
		return root
	}
	for _, u := range files[:minTogether] {
		for dir := filepath.Dir(u.path); ; dir = filepath.Dir(dir) {
			if f := openOn(device, dir); f != nil {
				s.roots[device] = f
				return f
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return nil
}

// openOn opens a directory if it is on the device.
func openOn(device uint64, dir string) *os.File {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || uint64(st.Dev) != device {
		_ = f.Close()
		return nil
	}
	return f
}

// syncfsReports tells whether the kernel reports errors of syncfs: since 5.8.
func syncfsReports() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 8)
}

// atLeast compares a kernel's release with a version.
func atLeast(release string, major, minor int) bool {
	var n [2]int
	i := 0
	for _, c := range []byte(release) {
		switch {
		case c >= '0' && c <= '9':
			n[i] = n[i]*10 + int(c-'0')
		case c == '.' && i == 0:
			i++
		default:
			return n[0] > major || n[0] == major && n[1] >= minor
		}
	}
	return n[0] > major || n[0] == major && n[1] >= minor
}
