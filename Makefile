# `make demo` runs the main job, `make test` passes the tests: both need Go and
# nothing else. The rest needs what its comment says.

GO ?= go
SHELL = /bin/bash
# The functions are built with -trimpath; with the same flag everywhere nothing is
# compiled twice.
export GOFLAGS = -trimpath
# Serverless Devs' command line, to compare our reading of s.yaml with its own.
S_VERSION = 3.1.10

.PHONY: help demo demo-ecs demo-azure demo-aws demo-created test race lint preview demo-real demo-ecs-real test-real test-sdks bench bench-migrate build deploy undeploy

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: ## connect two clusters, copy, prove, walk again, tear down; on a laptop, in two minutes
	$(GO) run ./localtest demo

demo-ecs: ## connect a cluster to an ECS host, for all five use cases at once
	$(GO) run ./localtest demo -scenario es-to-ecs

demo-azure: ## connect an Azure network to a deployment on Elastic Cloud, and prove it from a machine inside
	$(GO) run ./localtest demo -scenario elastic-azure

demo-aws: ## connect a VPC on AWS to a cluster on Zilliz Cloud, and prove it from an instance inside
	$(GO) run ./localtest demo -scenario zilliz-aws

demo-created: ## create an instance, nothing else, and see it connect itself
	$(GO) run ./localtest demo -created

test: ## all tests that need Go alone
	$(GO) test -timeout 40m ./...

# Of the simulated world those in which most happens at once.
race: ## the same under the race detector, but for the long campaigns
	$(GO) test -timeout 40m -race $$($(GO) list ./... | grep -v /localtest/world)
	$(GO) test -timeout 40m -race -run 'TestProvision|TestEveryEvent|TestEventsOut|TestTwoRuns|TestTaskVanishes|TestAllUseCases|TestAClusterConnects' ./localtest/world

lint: ## vet, staticcheck, complexity and length of functions, gofmt, module checksums
	$(GO) vet ./...
	$(GO) vet -tags real ./...
	$(GO) vet -tags bench ./localtest/...
	$(GO) vet -tags sdks ./localtest/sdks
	$(GO) vet -tags browser ./localtest/demo
	$(GO) tool staticcheck ./...
	$(GO) tool revive -config .revive.toml ./shared/... ./events/... ./functions/...
	$(GO) tool revive -config .revive-tests.toml ./shared/... ./events/... ./localtest/...
	@test -z "$$(gofmt -l events functions localtest shared)" || { gofmt -l events functions localtest shared; exit 1; }
	$(GO) mod verify
	@! grep -n 'ESLINK_\(ENDPOINT_\|DNS\|ROUTER\|CLOCK\)' s.yaml shared/deploy/*.yaml || { echo 'no deployment file may hold the seam'; exit 1; }

# Any values do for a reading.
PREVIEW_ENV = ESLINK_ACCOUNT_ID=1234567890123456 ESLINK_TABLE_INSTANCE=t ESLINK_LOG_PROJECT=l ESLINK_SOURCE_VPC=vpc-s ESLINK_SOURCE_VSWITCH=vsw-s ESLINK_SOURCE_SECURITY_GROUP=sg-s \
	ESLINK_DESTINATION_VPC=vpc-d ESLINK_DESTINATION_VSWITCH=vsw-d ESLINK_DESTINATION_SECURITY_GROUP=sg-d

preview: ## the deployment files as Serverless Devs reads them must be as we read them (needs npm)
	npm install --no-audit --no-fund --loglevel=error --prefix .build/s @serverless-devs/s@$(S_VERSION)
	for f in s.yaml shared/deploy/*.yaml; do \
		$(PREVIEW_ENV) .build/s/node_modules/.bin/s preview -t $$f -o json > .build/preview.json && \
		$(PREVIEW_ENV) $(GO) run ./localtest/runtime/preview $$f < .build/preview.json || { echo "$$f differs"; exit 1; }; done

demo-real: ## the demo on real Elasticsearch 7.17.29 (needs Java 17 and Maven)
	$(GO) run ./localtest demo -elasticsearch real

demo-ecs-real: ## LDAP and Active Directory by a real OpenLDAP and Samba, reindex from a real cluster (needs root and Debian's slapd and samba, too)
	$(GO) run ./localtest demo -scenario es-to-ecs -elasticsearch real

test-real: ## the tests that need real Elasticsearch (Java 17 and Maven; about 15 minutes)
	$(GO) test -p 1 -count=1 -tags real -timeout 40m ./localtest/realserver/...
	$(GO) test -p 1 -count=1 -tags real -run Real -timeout 40m ./localtest/definitions ./localtest/fakes/elastic ./localtest/world ./shared/esconfig ./shared/scan ./shared/copyjob ./localtest/migrate

test-sdks: ## the fakes, called by official SDKs that eslink does not use (needs Python 3 with venv, Node and npm)
	[ -d .build/sdks/python ] || python3 -m venv .build/sdks/python
	.build/sdks/python/bin/pip install --quiet --disable-pip-version-check -r localtest/sdks/python/requirements.txt
	npm install --no-audit --no-fund --loglevel=error --no-save --prefix .build/sdks/node $$(sed -n 's/.*"\(@alicloud.*\)": "\(.*\)" }/\1@\2/p' localtest/sdks/node/package.json)
	cd localtest/sdks/gov2 && $(GO) build -o $(CURDIR)/.build/sdks/gov2 .
	ESLINK_SDK_PYTHON=$(CURDIR)/.build/sdks/python/bin/python ESLINK_NODE_MODULES=$(CURDIR)/.build/sdks/node/node_modules ESLINK_SDK_GO=$(CURDIR)/.build/sdks/gov2 \
		$(GO) test -count=1 -tags sdks -timeout 4m ./localtest/sdks

bench: ## cold starts, sizes, memory, invocations, time
	set -o pipefail; $(GO) test -count=1 -tags bench -run Figures -v ./localtest/world | grep -v '^ \|^=== '

# For example MIGRATE='-documents 20000 -rounds 1', or -without-elasticdump.
MIGRATE =
ELASTICDUMP_VERSION = 6.125.1

bench-migrate: ## our copy beside seed 001's, elasticdump's and the destination's own limit, on real 7.17.29 (Java 17, Maven, npm; about half an hour)
	$(if $(findstring -without-elasticdump,$(MIGRATE)),,npm install --no-audit --no-fund --loglevel=error --prefix .build/elasticdump elasticdump@$(ELASTICDUMP_VERSION))
	set -o pipefail; $(GO) test -count=1 -tags bench -timeout 3h -run Migration -v ./localtest/migrate -args $(MIGRATE) | grep --line-buffered -v '^=== '

.PHONY: eslink test-browser
test-browser: ## the page in a real browser, clicked through (needs Chromium); pictures in .build/page
	$(GO) test -count=1 -tags browser -run 'Page|Markup|Thousand' ./localtest/demo

eslink: ## the command that people run, as ./.build/eslink
	$(GO) build -o .build/eslink ./shared/eslink

build: ## the binaries that `s deploy` uploads
	for f in $$(ls functions); do GOOS=linux GOARCH=amd64 CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w" -o target/$$f/main ./functions/$$f || exit 1; done

# For example SETS='common azure', for who has no Alibaba Cloud Elasticsearch.
SETS =

deploy: ## queues, table, roles, then the functions (needs an account, s and .env)
	$(GO) run ./shared/deploy/cmd deploy $(SETS)

undeploy: ## take the functions, then queues and roles away; the run records stay
	$(GO) run ./shared/deploy/cmd undeploy $(SETS)
