package table

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// tick is more than the granularity of the times of files: a file that was
// changed less than that ago may change again without a new time.
const tick = 100 * time.Millisecond

// fileState is what tells that a file is not the one, or not as, it was.
type fileState struct {
	dev, ino, links uint64
	size            int64
	modified        syscall.Timespec
	changed         syscall.Timespec
}

// stateOf takes what counts from a stat(2).
func stateOf(st *syscall.Stat_t) fileState {
	return fileState{
		dev: uint64(st.Dev), ino: st.Ino, links: uint64(st.Nlink), size: st.Size,
		modified: st.Mtim, changed: st.Ctim,
	}
}

// stateOfInfo is the same for an os.FileInfo.
func stateOfInfo(info os.FileInfo) fileState {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return stateOf(st)
	}
	return fileState{size: info.Size(), modified: syscall.NsecToTimespec(info.ModTime().UnixNano())}
}

// sameContent tells whether the same file was not written to since.
func (s *fileState) sameContent(o *fileState) bool {
	return s.dev == o.dev && s.ino == o.ino && s.size == o.size && s.modified == o.modified && s.changed == o.changed
}

// age is the time since the file, its content or its attributes, changed.
func (s *fileState) age() time.Duration {
	last := max(s.modified.Nano(), s.changed.Nano())
	return time.Since(time.Unix(0, last))
}

// young tells whether the file may change again without a new time.
func (s *fileState) young() bool {
	age := s.age()
	return age >= 0 && age < tick
}

// mapping is a file in the address space: its pages are those of the system's
// file cache and none of the heap, so that a table of any size opens at once.
// It goes when nothing refers to it any more, never before: Close would have to
// wait for lookups.
type mapping struct {
	data string
	file *os.File
	fd   int
	// state is that of the file when it was mapped.
	state fileState
}

// errEmptyFile is the cause when a file holds nothing at all.
var errEmptyFile = errors.New("the file is empty")

// mapFile maps a file as long as it is now. The mapping keeps f.
func mapFile(f *os.File) (*mapping, error) {
	m := &mapping{file: f, fd: int(f.Fd())}
	var err error
	if m.state, err = m.now(); err != nil {
		return nil, err
	}
	size := int(m.state.size)
	if int64(size) != m.state.size {
		return nil, fmt.Errorf("%d bytes are too many for this machine", m.state.size)
	}
	if size == 0 {
		return nil, errEmptyFile
	}
	bytes, err := syscall.Mmap(m.fd, 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	// A lookup reads a page here and a page there: reading ahead is in vain.
	// It is an advice, so that it does not matter when it is not taken.
	_ = syscall.Madvise(bytes, syscall.MADV_RANDOM)
	m.data = unsafe.String(&bytes[0], size)
	runtime.AddCleanup(m, func(bytes []byte) { _ = syscall.Munmap(bytes) }, bytes)
	return m, nil
}

// now is the state of the file at this moment.
func (m *mapping) now() (fileState, error) {
	var st syscall.Stat_t
	for {
		switch err := syscall.Fstat(m.fd, &st); err {
		case nil:
			runtime.KeepAlive(m)
			return stateOf(&st), nil
		case syscall.EINTR:
		default:
			return fileState{}, err
		}
	}
}

// errFault is the cause when the file became shorter than its mapping while
// we read it, or when its disk failed.
var errFault = errors.New("the file was cut off, or cannot be read, while it was in use")

// catchFault is deferred around everything that reads a mapping:
//
//	defer catchFault(debug.SetPanicOnFault(true), &err)
//
// Reading a page of a mapping that the file does not have (any more) is a
// SIGBUS, which Go turns into a panic where SetPanicOnFault asks for it. That
// panic has an address, which tells it from those that are our own mistakes.
func catchFault(before bool, err *error) {
	debug.SetPanicOnFault(before)
	switch fault := recover().(type) {
	case nil:
	case interface {
		runtime.Error
		Addr() uintptr
	}:
		*err = errFault
	default:
		panic(fault)
	}
}

// owned copies a part of a mapping to the heap: it is for the caller to keep.
func owned(s string) string { return strings.Clone(s) }
