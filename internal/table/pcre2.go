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
	smallSubject   = 512
)

// errMatchLimit is the cause when an expression gave up on a key.
var errMatchLimit = errors.New("match limit exceeded")

// pcreEngine makes and runs PCRE2 expressions. The library is C translated to
// Go: it wants a thread state and its own kind of memory. Both are in the
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
	// subject is where the key is copied to, in C memory.
	subject *cBuffer
}

// cBuffer is memory of the translated C library. Go memory will not do: the
// library keeps addresses as numbers, so Go neither sees that an object is in
// use nor tells the library when it moves a stack.
type cBuffer struct {
	address uintptr
	size    int
}

// reserve makes room for n bytes; what was there is lost.
func (b *cBuffer) reserve(tls *libc.TLS, n int) {
	if n <= b.size {
		return
	}
	b.free(tls)
	b.size = max(n, smallSubject)
	if b.address = libc.Xmalloc(tls, lib.Tsize_t(b.size)); b.address == 0 {
		panic("out of memory") // as Go itself does
	}
}

// free gives the memory back.
func (b *cBuffer) free(tls *libc.TLS) {
	if b.address != 0 {
		libc.Xfree(tls, b.address)
	}
	b.address, b.size = 0, 0
}

// bytes is the first n bytes of the buffer.
func (b *cBuffer) bytes(n int) []byte { return unsafe.Slice((*byte)(pointer(b.address)), n) }

// set copies text into the buffer. There is an address even for no text.
func (b *cBuffer) set(tls *libc.TLS, text string) {
	b.reserve(tls, len(text)+1)
	copy(b.bytes(len(text)), text)
}

// Offsets in the scratch memory for what the library returns by address.
const (
	outCode   = 0
	outOffset = 8
	outSize   = 16
	// messageSize is the room for the text of an error.
	messageSize = 256
)

// compile compiles an expression with PCRE2 option bits.
func (e *pcreEngine) compile(pattern string, options uint32) (*pcreCode, error) {
	if len(pattern) > maxExpression {
		return nil, fmt.Errorf("error in regex: longer than %d bytes", maxExpression)
	}
	tls := libc.NewTLS()
	defer tls.Close()
	var text, out cBuffer
	defer func() { text.free(tls); out.free(tls) }()
	text.set(tls, pattern)
	out.reserve(tls, outSize)
	clear(out.bytes(outSize))
	re := lib.Xpcre2_compile_8(tls, text.address, lib.Tsize_t(len(pattern)), options, out.address+outCode, out.address+outOffset, 0)
	if re == 0 {
		code := *(*int32)(pointer(out.address + outCode))
		offset := *(*lib.Tsize_t)(pointer(out.address + outOffset))
		return nil, fmt.Errorf("error in regex at offset %d: %s", offset, pcreMessage(tls, code))
	}
	lib.Xpcre2_pattern_info_8(tls, re, pcreInfoCaptures, out.address)
	c := &pcreCode{engine: e, code: re, count: int(*(*uint32)(pointer(out.address)))}
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
	var text cBuffer
	defer text.free(tls)
	text.reserve(tls, messageSize)
	n := lib.Xpcre2_get_error_message_8(tls, code, text.address, messageSize)
	if n < 0 {
		return fmt.Sprintf("error %d", code)
	}
	return string(text.bytes(int(n)))
}

// block takes a block from the pool, or makes one.
func (e *pcreEngine) block() *pcreBlock {
	if b, ok := e.blocks.Get().(*pcreBlock); ok && b.pairs >= e.pairs {
		return b
	}
	b := &pcreBlock{tls: libc.NewTLS(), pairs: e.pairs, subject: new(cBuffer)}
	b.context = lib.Xpcre2_match_context_create_8(b.tls, 0)
	b.data = lib.Xpcre2_match_data_create_8(b.tls, uint32(b.pairs), 0)
	lib.Xpcre2_set_match_limit_8(b.tls, b.context, matchLimit)
	lib.Xpcre2_set_heap_limit_8(b.tls, b.context, heapLimitKiB)
	type held struct {
		tls           *libc.TLS
		context, data uintptr
		subject       *cBuffer
	}
	runtime.AddCleanup(b, func(h held) {
		h.subject.free(h.tls)
		lib.Xpcre2_match_data_free_8(h.tls, h.data)
		lib.Xpcre2_match_context_free_8(h.tls, h.context)
		h.tls.Close()
	}, held{b.tls, b.context, b.data, b.subject})
	return b
}

// match implements matcher. An empty match is a match.
func (c *pcreCode) match(key string, wantSpans bool) (bool, []int, error) {
	b := c.engine.block()
	defer c.engine.blocks.Put(b)
	b.subject.set(b.tls, key)
	rc := lib.Xpcre2_match_8(b.tls, c.code, b.subject.address, lib.Tsize_t(len(key)), 0, 0, b.data, b.context)
	runtime.KeepAlive(c)
	if b.subject.size > maxKeptSubject {
		b.subject.free(b.tls)
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
