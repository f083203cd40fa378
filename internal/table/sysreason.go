package table

import (
	"errors"
	"io/fs"
	"syscall"

	"postroad/internal/sys"
)

// Reason returns the bare system error of a file operation in the words of
// strerror(3), without the path that Go puts before it.
func Reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err == fs.ErrNotExist {
		return sysError{syscall.ENOENT}
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return sysError{errno}
}

// sysError prints an errno as strerror(3) does: with a capital.
type sysError struct{ errno syscall.Errno }

// Error implements error.
func (e sysError) Error() string { return sys.Reason(e.errno) }

// Unwrap returns the errno, so that errors.Is(err, fs.ErrNotExist) works.
func (e sysError) Unwrap() error { return e.errno }
