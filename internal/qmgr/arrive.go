package qmgr

import (
	"errors"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

const (
	// maxLoaders bounds the goroutines that read waiting mail from disk.
	maxLoaders = 8
	// maxContent is how many bytes of content may wait in memory for their
	// first attempt; what is over it is read back from the store.
	maxContent = 64 << 20
	// backlogBatch is how many accepted messages are loaded at a time.
	backlogBatch = 200
)

// arrived takes a message right after its commit. It runs on the goroutine that
// committed and must not keep it.
func (m *Manager) arrived(env *mail.Envelope, content mail.Content) {
	m.mu.Lock()
	if m.closed || len(m.messages) >= m.gen.Load().Settings.ActiveLimit {
		// On disk it is safe; remember that somebody waits there.
		m.fallBehind(queue.Arrival{When: env.Arrived, ID: env.ID})
		m.mu.Unlock()
		return
	}
	msg := &message{env: env, content: content, refs: 1, fresh: true, active: time.Now()}
	m.keep(msg)
	m.remember(msg)
	m.running++
	m.mu.Unlock()
	// goroutine: routes one message and then runs its first attempt; stop
	// waits for it.
	go m.admit(msg)
}

// keep counts the memory of a content, or gives it up. The lock is held.
func (m *Manager) keep(msg *message) {
	n := int64(cap(msg.content.Bytes()))
	if m.memory+n > maxContent {
		msg.content = m.store.Forget(msg.env.ID, msg.content)
		return
	}
	msg.kept = n
	m.memory += n
}

// fallBehind notes an accepted message that only the disk knows. Arrival times
// are those of the transaction's begin and do not come in order, so the mark
// moves back when it must. The lock is held.
func (m *Manager) fallBehind(a queue.Arrival) {
	a.When = a.When.Add(-time.Microsecond)
	if !m.behind || a.When.Before(m.backlog.When) {
		m.backlog = queue.Arrival{When: a.When, ID: "0"}
	}
	m.behind = true
}

// loadBacklog loads accepted mail that found no room in memory, or that a
// restart left. Nine tenths of the room are for it; the rest is for new mail,
// which so never waits for a backlog.
func (m *Manager) loadBacklog() {
	for {
		m.mu.Lock()
		limit := m.gen.Load().Settings.ActiveLimit
		room := limit - limit/10 - len(m.messages) // some even where the limit is 1
		if !m.behind || m.closed || room <= 0 || m.memory > maxContent*9/10 {
			m.mu.Unlock()
			return
		}
		from := m.backlog
		m.behind = false
		m.mu.Unlock()
		if !m.loadArrivals(from, min(room, backlogBatch)) {
			return
		}
	}
}

// loadArrivals loads up to n messages behind from and tells whether more wait.
func (m *Manager) loadArrivals(from queue.Arrival, n int) bool {
	var found []queue.Arrival
	err := m.store.Arrivals(from, func(a queue.Arrival) bool {
		found = append(found, a)
		return len(found) < n
	})
	if err != nil {
		m.log.Warnf("read arrivals: %v", err)
		m.mu.Lock()
		m.fallBehind(from)
		m.mu.Unlock()
		return false
	}
	var admitted []*message
	for _, a := range found {
		if msg := m.load(a.ID); msg != nil {
			admitted = append(admitted, msg)
		}
	}
	m.mu.Lock()
	if len(found) == n && !m.behind {
		m.behind, m.backlog = true, found[n-1]
	}
	m.running += len(admitted)
	m.mu.Unlock()
	for _, msg := range admitted {
		// goroutine: as in arrived.
		go m.admit(msg)
	}
	return len(found) == n
}

// load reads a message that has an arrival mark into memory; nil when it is
// there already, on hold or gone.
func (m *Manager) load(id mail.QueueID) *message {
	m.mu.Lock()
	known := m.messages[id] != nil
	m.mu.Unlock()
	if known {
		return nil
	}
	sum, err := m.store.Summary(id)
	if err != nil {
		if !errors.Is(err, queue.ErrNotFound) {
			m.log.Warnf("%s: %v", id, err)
		}
		return nil
	}
	if sum.Held || !sum.Incoming {
		return nil
	}
	_, content, err := m.store.Message(id)
	if err != nil {
		m.log.Warnf("%s: %v", id, err)
		return nil
	}
	msg := &message{env: sum.Envelope, content: content, refs: 1, fresh: true, reread: true, active: time.Now(), flags: sum.Flags}
	msg.done = len(sum.Done)
	msg.aged = len(sum.Jobs) > 0
	for _, j := range sum.Jobs {
		msg.nextNo = max(msg.nextNo, j.No)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.messages[id] != nil || m.closed {
		return nil
	}
	m.remember(msg)
	return msg
}

// logActive says that some recipients of a message are in the active queue.
func (m *Manager) logActive(msg *message, n int) {
	m.log.Emit(event.QueueActive{
		ID: msg.env.ID, From: msg.env.Sender, Size: msg.env.Size, Recipients: n,
	})
}
