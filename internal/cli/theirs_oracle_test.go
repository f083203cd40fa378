//go:build oracle

package cli

import (
	"bytes"
	"errors"
	"os/exec"
	"sync"
	"testing"
)

// runTheir runs a command of Postfix.
func runTheir(t testing.TB, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Errorf("%s: %v", cmd.Path, err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

// spread calls do for runs numbers from first on, by many workers: Postfix waits a
// second before it ends with an error.
func spread(workers int, first, runs uint64, do func(worker int, n uint64)) {
	numbers := make(chan uint64)
	var wg sync.WaitGroup
	for worker := range workers {
		// goroutine: ends when numbers is closed.
		wg.Go(func() {
			for n := range numbers {
				do(worker, n)
			}
		})
	}
	for n := range runs {
		numbers <- first + n
	}
	close(numbers)
	wg.Wait()
}
