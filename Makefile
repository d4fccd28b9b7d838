# meshlab: what to type. `make` alone prints the targets.
# Needs Go 1.26, gcc (for the race detector) and make; `make deps` installs the rest.

BIN     := bin/meshlab
OUT     := results/demo
MESHES  := direct,ovs,consul-connect
LABS    := hashicups hashicups-single-node
FUZZ    := 60s
ROUNDS  := 100
SIZES   := 4,50,200
TESTS   := ./...

# Git refuses to tell the version of a tree that belongs to another user, and
# go build stops at that.
VCS := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)

VERSION := $(shell git describe --always --tags --dirty 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help build deps demo test check tflint accuracy bench mininet kube thesis fuzz crash clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

build: ## build bin/meshlab
	go build $(VCS) -trimpath -ldflags "-X main.buildVersion=$(VERSION)" -o $(BIN) ./cmd/meshlab

deps: build ## install what this machine lacks: packages as root, and Consul, which is built once
	$(BIN) doctor --install

demo: deps ## measure the reference labs under all meshes and write a report
	$(BIN) bench $(LABS) --mesh $(MESHES) --out $(OUT)
	$(BIN) report $(OUT)/latest.json --out $(OUT)/report

test: deps ## run all tests, those with real daemons, namespaces and a Kubernetes API server too
	@.ci/testdeps
	@.ci/test $(TESTS)

check: ## format, vet, staticcheck, import directions, race detector, fuzz seeds
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "run gofmt -w on:"; echo "$$files"; exit 1; fi
	go vet ./...
	go vet -tags integration ./...
	go tool staticcheck -tags integration ./...
	go test -run 'TestImportDirections|TestViolations' ./cmd/meshlab
	go test -race ./...
	go test -run '^Fuzz' ./...

tflint: ## tflint over the Terraform modules; it is built the first time, in some minutes
	@for folder in terraform/lab terraform/modules/*; do (cd $$folder && go run github.com/terraform-linters/tflint@v0.64.0) || exit 1; done

bench: deps ## what the meshes themselves cost, as ratios, and the generator beside wrk and Fortio, if wrk is there: minutes
	$(BIN) bench single-upstream --mesh $(MESHES) --connections 1,8,64 --requests 5000 --repeats 6 --out results/bench
	$(BIN) report results/bench/latest.json --out results/bench/report
	go test -v -run '^$$' -bench '^BenchmarkOthers$$' -benchtime 1x ./scenarios/openloop

mininet: deps ## the same networks by Mininet and by meshlab, in turn: time and memory, SIZES=4,50,200
	docs/performance/beside-mininet.py --sizes $(SIZES) --json results/mininet/latest.json

accuracy: ## how exact delay, jitter, loss and bandwidth of links are on this machine, as tables: four minutes, as root
	go test -tags integration -count 1 -timeout 20m -run '^$$' -bench '^BenchmarkAccuracy$$' -benchtime 1x ./orchestrate/shape

kube: deps ## the tests with a real kube-apiserver alone, which is built once: some minutes of all processors
	@.ci/testdeps
	@.ci/kube-apiserver
	@.ci/helm
	go test -tags integration -count 1 -timeout 20m -p 1 -v ./controller/kube/kubetest ./controller/kube/deploy

thesis: deps ## run the thesis' own Kubernetes manifests of HashiCups, from MANIFESTS=folder, in the tests' cluster
	@[ -d "$(MANIFESTS)" ] || { echo "name the folder: make thesis MANIFESTS=.../hashicups-k8s" >&2; exit 2; }
	@.ci/testdeps
	@.ci/kube-apiserver
	MESHLAB_MANIFESTS=$(abspath $(MANIFESTS)) go test -tags integration -count 1 -timeout 20m -v -run HashiCups ./controller/kube/kubetest

fuzz: ## run each fuzz target for FUZZ=60s
	@set -e; grep -r --include='*_test.go' -H -o '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	while IFS=: read -r file func; do \
		name=$${func#func }; \
		echo "== $$name in $$(dirname $$file) for $(FUZZ)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ) "$$(dirname $$file)"; \
	done

crash: deps ## kill a random process while a lab comes up, runs, is measured or taken down, see that nothing is left: ROUNDS=100 times
	go test -tags integration -count 1 -timeout 120m -v -run '^TestCrash$$' ./cmd/meshlab -crash.rounds $(ROUNDS) -crash.limit 0

clean: ## remove what was built and measured
	rm -rf bin results
