# Postroad. "make run" starts a server, "make test" proves it.

GO ?= go
BIN := bin
PREFIX ?= /usr/local
DESTDIR ?=
ROUNDS ?= 200

# The names under which an administrator knows the program.
LINKS := postfix postconf postmap postalias postqueue postsuper postcat postdrop postmulti \
	postlog postkick postlock sendmail mailq newaliases

# Debian packages whose programs the tests talk to.
PEERS := postfix postfix-pcre postfix-mysql postfix-pgsql postfix-sqlite postfix-ldap \
	postfix-lmdb postfix-cdb dovecot-core sasl2-bin swaks pflogsumm haproxy amavisd-new db-util openssl iproute2 util-linux \
	e2fsprogs procps gcc libc6-dev mariadb-server postgresql sqlite3 slapd memcached \
	lmdb-utils tinycdb \
	rspamd opendkim opendkim-tools opendmarc clamav-daemon clamav-milter spamassassin spamd spamass-milter \
	postgrey postfix-policyd-spf-python postfwd

STATICCHECK := $(GO) tool -modfile=tools/go.mod staticcheck

.PHONY: all build run test check unit e2e crash hostile sweep bench fuzz install clean peers

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/postroad ./cmd/postroad
	@for name in $(LINKS); do ln -sf postroad $(BIN)/$$name; done

run: build
	$(BIN)/postroad run

# check is what needs no running server: form, vet, staticcheck.
check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet -tags oracle ./...
	CGO_ENABLED=0 $(STATICCHECK) -tags oracle ./...

# unit runs every test that needs no root, with the race detector and all seeds
# of the fuzz targets.
unit:
	CGO_ENABLED=1 $(GO) test -race ./...

# e2e runs what needs root: comparisons with the real Postfix and 20 crashes.
e2e: build
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 15m -parallel 6 ./...

ifeq ($(shell id -u),0)
test: peers check unit e2e
else
test: check unit
	@echo
	@echo "Not run, because they need root: the comparisons with Postfix, the crash"
	@echo "and the disk campaigns (private machines made of namespaces). Run all of"
	@echo "it with: sudo make test"
endif

# peers installs what is missing, and says so.
peers:
	@sh test/peers.sh $(PEERS)

# sweep is the long form of the generated comparisons: of postconf and postmap with
# a Postfix (SWEEPSBIN is where its commands are), and of the SMTP server, with
# more than 20,000 verdicts over our configurations and those below POSTROAD_CORPUS.
SWEEPSBIN ?= /usr/sbin
SESSIONS ?= 50
sweep: build
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 2h -count 1 -v -run 'TestSweep$$' ./test -sessions $(SESSIONS)
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 2h -count 1 -v -run 'TestPostconfSweep|TestPostmapSweep' ./internal/cli \
		-args -postconf $(SWEEPSBIN)/postconf -runs 20000 -mapsbin $(SWEEPSBIN) -stages 1000

# crash is the long form: ROUNDS crashes of Postroad, then as many of Postfix.
crash: build
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 4h -count 1 -v -run 'TestCrash$$' ./test -rounds $(ROUNDS)
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 4h -count 1 -v -run 'TestCrash$$' ./test -rounds $(ROUNDS) -against postfix

# hostile is the long form: 16,000 hostile clients, of whom 10,000 are there at any
# time, around the good ones.
hostile: build
	CGO_ENABLED=0 $(GO) test -tags oracle -timeout 30m -count 1 -v -run 'TestHostile$$' ./test -foes 16000

bench: build
	CGO_ENABLED=0 $(GO) build -o $(BIN)/postroad-bench ./bench
	$(BIN)/postroad-bench $(BENCHFLAGS)

# fuzz runs every fuzz target for a while.
FUZZTIME ?= 30s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# install puts the program and its names where Postfix has its own. The two
# programs that hand mail and requests to the queue for ordinary users run with
# the group postdrop.
install: build
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/postroad $(DESTDIR)$(PREFIX)/sbin/postroad
	@for name in $(filter-out mailq newaliases postdrop postqueue,$(LINKS)); do \
		ln -sf postroad $(DESTDIR)$(PREFIX)/sbin/$$name; done
	@for name in mailq newaliases; do ln -sf ../sbin/postroad $(DESTDIR)$(PREFIX)/bin/$$name; done
	@for name in postdrop postqueue; do \
		install -m 2755 -g postdrop $(BIN)/postroad $(DESTDIR)$(PREFIX)/sbin/$$name; done

clean:
	rm -rf $(BIN) bench/out
