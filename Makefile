# make demo   build mica and see what it does
# make test   all that must hold; what CI runs
# Both install the Debian packages that are missing, and say which and why.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PREFIX      ?= /usr/local
FUZZTIME    ?= 1m

# Go asks git about a checkout for each binary, and fails where that belongs to another user.
export GOFLAGS += -buildvcs=false

.PHONY: build install demo test lint unit e2e fuzz soak bench microbench

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/mica ./cmd/mica

install: build
	install -D -m 755 bin/mica $(DESTDIR)$(PREFIX)/bin/mica
	mkdir -p $(DESTDIR)/sbin
	ln -sf $(PREFIX)/bin/mica $(DESTDIR)/sbin/mount.fuse.mica

demo:
	@.ci/need 'mounting as an ordinary user' fuse3
	@.ci/need 'asking a file for its layer' attr
	@.ci/fuse
	@$(MAKE) --no-print-directory build
	bin/mica demo

test:
	@.ci/need 'the race detector' gcc libc6-dev
	@.ci/need 'mounting as an ordinary user' fuse3
	@.ci/need 'images by other hands, and what they unpack to' umoci skopeo busybox-static attr acl
	@.ci/need 'images by other builders' buildah podman runc
	@.ci/need 'running containers' runc busybox-static procps tar
	@.ci/need 'a registry to pull from' docker-registry
	@.ci/need 'streams by other compressors' zstd pigz isal
	@.ci/need 'small file systems that run full' e2fsprogs mount
	@.ci/fuse
	@$(MAKE) --no-print-directory lint unit e2e

lint:
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	go mod tidy -diff
	go vet ./...
	go run $(STATICCHECK) ./...

# To root a skipped test is a failed one: what a test needs has been installed above.
# Ordinary users cannot run all of them, and are not told so by a failure.
unit e2e: export MICA_TEST_STRICT = $(if $(filter 0,$(shell id -u)),1)
unit:
	CGO_ENABLED=1 go test -race $$(go list ./... | grep -v /e2e)

e2e:
	go test -count=1 ./e2e

# Each fuzz target for a while, not most of it to make one input small. What it finds stays in testdata/fuzz, where go test runs it again.
fuzz:
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; \
	done

# The tests that look for rare orders of events, again and again.
soak:
	CGO_ENABLED=1 go test -race -count=20 -timeout 2h ./fs ./layerstore/... ./overlay
	MICA_TEST_HISTORIES=2000 go test -count=1 -timeout 2h -run TestHistories ./e2e
	go test -count=10 -timeout 2h ./e2e
	MICA_TEST_KILLS=1000 go test -count=1 -run "TestKills|TestTakeover" -v ./e2e
	MICA_TEST_KILLS=300 go test -count=1 -timeout 2h -run TestContainerKills -v ./e2e
	MICA_TEST_CYCLES=200 go test -count=1 -timeout 1h -run TestContainerCycles -v ./e2e
	MICA_TEST_MODEL_TIME=10m go test -count=1 -timeout 2h -run 'TestModel$$' -v ./e2e
	MICA_TEST_CRASHES=300 go test -count=1 -timeout 2h -run TestCrashes -v ./e2e
	MICA_TEST_POWERCUTS=100 go test -count=1 -timeout 1h -run TestPowerCut -v ./e2e
	MICA_TEST_FILES=100000 go test -count=1 -timeout 1h -run TestFewDescriptors -v ./e2e

# Each row of docs/BENCHMARKS.md, which it writes; make bench ROWS="again start" prints those alone.
# MICA_TEST_IMAGES names images that are there; else they are made, once, which takes ten minutes.
bench: build
	@.ci/need 'the tools that mica is compared with' umoci podman isal
	@.ci/need 'making images' debootstrap buildah skopeo busybox-static
	@.ci/fuse
	@images="$${MICA_TEST_IMAGES:-/var/tmp/mica-images}"; \
	make=../shared/tools/mkimages.sh; [ -x $$make ] || make=e2e/bench/images.sh; \
	[ -e "$$images/big.docker.tar" ] || $$make "$$images"; \
	go run ./e2e/bench -images "$$images" -note "$(NOTE)" $(if $(ROWS),$(ROWS),-out docs/BENCHMARKS.md)

# The benchmarks of single packages.
microbench:
	go test -run '^$$' -bench . -benchmem ./...
