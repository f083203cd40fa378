package table

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"go.elara.ws/pcre/lib"
	"modernc.org/libc"
)

// PCRE2 option bits and codes that we use.
const (
	pcreCaseless      = 0x00000008
	pcreDollarEndOnly = 0x00000010
	pcreDotAll        = 0x00000020
	pcreExtended      = 0x00000080
	pcreMultiLine     = 0x00000400
	pcreUngreedy      = 0x00040000
	pcreAnchored      = 0x80000000
	pcreNoMatch       = -1
	pcreMatchLimit    = -47
	pcreDepthLimit    = -53
	pcreHeapLimit     = -63
	pcreInfoCaptures  = 4
)

// Limits of one match. Without them a sender can spend seconds of our time
// with one header line.
const (
	matchLimit     = 1_000_000
	heapLimitKiB   = 64 << 10
	maxExpression  = 64 << 10
	maxKeptSubject = 128 << 10
)

// errMatchLimit is the cause when an expression gave up on a key.
var errMatchLimit = errors.New("matching needs too many steps for this text")

// pcreEngine makes and runs PCRE2 expressions. The library is C translated to
// Go: it wants a thread state, and memory that does not move. Both are in the
// blocks of the pool, so that any number of goroutines can match.
type pcreEngine struct {
	blocks sync.Pool
	pairs  int
}

// pcreCode is one compiled expression.
type pcreCode struct {
	engine *pcreEngine
	code   uintptr
	count  int
}

// pcreBlock is what one match needs.
type pcreBlock struct {
	tls     *libc.TLS
	context uintptr
	data    uintptr
	pairs   int
	// subject is the key; Go's heap does not move.
	subject []byte
}

// compile compiles an expression with PCRE2 option bits.
func (e *pcreEngine) compile(pattern string, options uint32) (*pcreCode, error) {
	if len(pattern) > maxExpression {
		return nil, fmt.Errorf("error in regex: longer than %d bytes", maxExpression)
	}
	tls := libc.NewTLS()
	defer tls.Close()
	text := append([]byte(pattern), 0)
	out := new(struct {
		code   int32
		offset lib.Tsize_t
	})
	re := lib.Xpcre2_compile_8(tls, uintptr(unsafe.Pointer(&text[0])), lib.Tsize_t(len(pattern)), options,
		uintptr(unsafe.Pointer(&out.code)), uintptr(unsafe.Pointer(&out.offset)), 0)
	runtime.KeepAlive(text)
	if re == 0 {
		return nil, fmt.Errorf("error in regex at offset %d: %s", out.offset, pcreMessage(tls, out.code))
	}
	count := new(uint32)
	lib.Xpcre2_pattern_info_8(tls, re, pcreInfoCaptures, uintptr(unsafe.Pointer(count)))
	c := &pcreCode{engine: e, code: re, count: int(*count)}
	e.pairs = max(e.pairs, c.count+1)
	runtime.AddCleanup(c, func(code uintptr) {
		tls := libc.NewTLS()
		defer tls.Close()
		lib.Xpcre2_code_free_8(tls, code)
	}, re)
	return c, nil
}

// pcreMessage returns the library's text for an error.
func pcreMessage(tls *libc.TLS, code int32) string {
	buf := make([]byte, 256)
	n := lib.Xpcre2_get_error_message_8(tls, code, uintptr(unsafe.Pointer(&buf[0])), lib.Tsize_t(len(buf)))
	runtime.KeepAlive(buf)
	if n < 0 {
		return fmt.Sprintf("error %d", code)
	}
	return string(buf[:n])
}

// block takes a block from the pool, or makes one.
func (e *pcreEngine) block() *pcreBlock {
	if b, ok := e.blocks.Get().(*pcreBlock); ok && b.pairs >= e.pairs {
		return b
	}
	b := &pcreBlock{tls: libc.NewTLS(), pairs: e.pairs, subject: make([]byte, 0, 512)}
	b.context = lib.Xpcre2_match_context_create_8(b.tls, 0)
	b.data = lib.Xpcre2_match_data_create_8(b.tls, uint32(b.pairs), 0)
	lib.Xpcre2_set_match_limit_8(b.tls, b.context, matchLimit)
	lib.Xpcre2_set_heap_limit_8(b.tls, b.context, heapLimitKiB)
	type held struct {
		tls           *libc.TLS
		context, data uintptr
	}
	runtime.AddCleanup(b, func(h held) {
		lib.Xpcre2_match_data_free_8(h.tls, h.data)
		lib.Xpcre2_match_context_free_8(h.tls, h.context)
		h.tls.Close()
	}, held{b.tls, b.context, b.data})
	return b
}

// match implements matcher. An empty match is a match.
func (c *pcreCode) match(key string, wantSpans bool) (bool, []int, error) {
	b := c.engine.block()
	defer c.engine.blocks.Put(b)
	// One byte more, so that there is an address even for the empty key.
	b.subject = append(append(b.subject[:0], key...), 0)
	rc := lib.Xpcre2_match_8(b.tls, c.code, uintptr(unsafe.Pointer(&b.subject[0])), lib.Tsize_t(len(key)), 0, 0, b.data, b.context)
	runtime.KeepAlive(c)
	if cap(b.subject) > maxKeptSubject {
		b.subject = make([]byte, 0, 512)
	}
	switch {
	case rc == pcreNoMatch:
		return false, nil, nil
	case rc == pcreMatchLimit || rc == pcreDepthLimit || rc == pcreHeapLimit:
		return false, nil, errMatchLimit
	case rc < 0:
		return false, nil, fmt.Errorf("matching failed: %s", pcreMessage(b.tls, rc))
	case !wantSpans:
		return true, nil, nil
	}
	vector := unsafe.Slice((*uintptr)(pointer(lib.Xpcre2_get_ovector_pointer_8(b.tls, b.data))), 2*b.pairs)
	spans := make([]int, 2*(c.count+1))
	for i := range spans {
		// Groups behind the last that took part are not written.
		if i < 2*int(rc) {
			spans[i] = int(vector[i])
		} else {
			spans[i] = -1
		}
	}
	return true, spans, nil
}

// groups implements matcher.
func (c *pcreCode) groups() int { return c.count }

// pointer turns an address in the memory of the translated C library, which
// Go's collector does not manage, into a pointer.
func pointer(address uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}
