package control

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel who is at the other end.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return Peer{}, err
	}
	return Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}, nil
}

// Path is the socket of the server whose queue is in dir.
func Path(queueDir string) string { return filepath.Join(queueDir, "public", "postroad") }

// Listen makes the socket of the commands. A socket left by a dead server is
// replaced; the caller holds the lock that tells that no other server lives. Who
// may connect is decided by the directory, which the group of the set-gid commands
// may enter.
func Listen(queueDir string, mode os.FileMode) (*net.UnixListener, error) {
	return listen(Path(queueDir), mode)
}

// ListenShowq makes the socket of ServeShowq.
func ListenShowq(queueDir string) (*net.UnixListener, error) {
	return listen(filepath.Join(queueDir, "public", "showq"), 0o666)
}

func listen(path string, mode os.FileMode) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The name stays behind, as Postfix's do: who asks a stopped server hears that
	// the connection is refused.
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}
