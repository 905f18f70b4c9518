#!/bin/sh
# Gets the programs that the tests need and says what it does, with nothing to
# do in well under a second. Called by make: setup.sh test | lint | compat | streams | qemu.
#
# Postgres, PgBouncer, HAProxy, nginx, kcat, Prometheus' promtool and systemd-analyze come from the system's packages.
# MinIO, Helm and golangci-lint are built from their Go modules, once, into
# ${XDG_CACHE_HOME:-~/.cache}/wadi/bin: none is wanted in go.mod, where it would bring in hundreds of
# modules. The same holds for test/deploy/typed, which is a module of this tree. Real
# input for the end-to-end tests is the npm package vega-datasets, in .../wadi/data.
#
# The clients that `make compat` tries, and Kafka Streams for `make streams`, come from their own package
# registries, in the versions that the files under test/compat and test/streams pin, into .../wadi/compat.
set -eu

minio=github.com/minio/minio
minio_version=v0.0.0-20250907161309-07c3a429bfed
helm=helm.sh/helm/v3
helm_version=v3.22.0
lint=github.com/golangci/golangci-lint/v2
lint_version=v2.15.0

flights=vega-datasets
flights_version=3.2.1
flights_sha256=6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wadi
bin=$cache/bin
data=$cache/data
compat=$cache/compat
here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'setup: %s\n' "$*"; }

fail() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

# The same places as in test/harness/tool.go.
have_postgres() {
	command -v initdb >/dev/null && return
	for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
		/opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb; do
		[ -x "$initdb" ] && return
	done
	return 1
}

# nginx with its stream module, built in or apart.
have_nginx() {
	nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || return 1
	case $("$nginx" -V 2>&1) in
	*--with-stream=dynamic*) [ -f /usr/lib/nginx/modules/ngx_stream_module.so ] ;;
	*--with-stream*) ;;
	*) return 1 ;;
	esac
}

have_flights() { [ -f "$data/$flights-$flights_version.tgz" ]; }

packages() {
	missing=
	have_postgres || missing="$missing postgresql"
	command -v kcat >/dev/null || missing="$missing kcat"
	command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing="$missing pgbouncer"
	have_nginx || missing="$missing nginx libnginx-mod-stream"
	command -v promtool >/dev/null || missing="$missing prometheus"
	[ "$(uname)" != Linux ] || command -v systemd-analyze >/dev/null || missing="$missing systemd"
	# Only to fetch the data.
	have_flights || command -v npm >/dev/null || missing="$missing npm"
	install_packages
}

# What Java's programs are built with.
java_packages() {
	missing=
	command -v javac >/dev/null || missing="$missing default-jdk-headless"
	command -v mvn >/dev/null || missing="$missing maven"
	install_packages
}

# What the other clients of make compat run on, and what kafka-javascript is compiled with.
compat_packages() {
	missing=
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
	command -v node >/dev/null || missing="$missing nodejs"
	command -v npm >/dev/null || missing="$missing npm"
	install_packages
	if ! have_clients node "$here/../compat/node/package-lock.json"; then
		missing=
		command -v g++ >/dev/null || missing="$missing g++"
		[ -f "$(node_root)/include/node/node.h" ] || missing="$missing libnode-dev"
		for header in zlib:zlib1g-dev openssl/ssl:libssl-dev zstd:libzstd-dev; do
			echo "#include <${header%%:*}.h>" | c++ -E -x c++ - >/dev/null 2>&1 || missing="$missing ${header##*:}"
		done
		install_packages
	fi
}

# node_root is where Node.js is installed: its headers are in include/node.
node_root() { node -p 'require("path").resolve(process.execPath, "../..")'; }

# install_packages installs what $missing names.
install_packages() {
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] && sudo= || sudo=sudo
	if ! command -v apt-get >/dev/null; then
		reason="this system has no apt-get"
	elif [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
		reason="this needs root, and there is no sudo"
	elif [ -n "$sudo" ] && ! [ -t 0 ] && ! sudo -n true 2>/dev/null; then
		reason="this needs root, and sudo wants a password that nobody is here to type"
	else
		reason=
	fi
	if [ -n "$reason" ]; then
		fail "the tests need:$missing. Can't install: $reason. Please run one of" \
			"  Debian, Ubuntu  sudo apt-get install$missing" \
			"  Fedora          sudo dnf install$(echo "$missing" | sed 's/postgresql/postgresql-server/; s/prometheus/golang-github-prometheus/; s/libnginx-mod-stream/nginx-mod-stream/')" \
			"  macOS           brew install$(echo "$missing" | sed 's/postgresql/postgresql@17/; s/ libnginx-mod-stream//')"
	fi
	say "installing the packages$missing"
	set -- -o DPkg::Lock::Timeout=300 -q
	$sudo apt-get "$@" update
	# shellcheck disable=SC2086 # the names are words
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@" install -y --no-install-recommends $missing
	case $missing in
	*postgresql*) have_postgres || fail "apt-get installed postgresql, but initdb is in none of the places the tests look in" ;;
	esac
}

# build NAME PACKAGE MODULE VERSION ABOUT: the program, unless that version is there.
build() {
	if go version -m "$bin/$1" 2>/dev/null | grep -qF "$(printf 'mod\t%s\t%s\t' "$3" "$4")"; then
		return
	fi
	say "building $1 $4 into $bin, once; about $5 on 2 cores"
	mkdir -p "$bin"
	log=$(mktemp)
	if ! { GOBIN=$bin go install -v "$2@$4" 2>&1 || echo "setup: go install failed"; } | tee "$log" |
		awk -v name="$1" '{ n++ } n % 200 == 0 { print "setup: " name ": " n " modules and packages"; fflush() }
			/^setup: go install failed/ { failed = 1 } END { exit failed }'; then
		tail -n 30 "$log" >&2
		rm -f "$log"
		fail "could not build $1 $4; what go said stands above"
	fi
	rm -f "$log"
}

# build_here NAME FOLDER ABOUT: the program of a module of this tree, unless it was built from the same files.
build_here() {
	sources=$({ go env GOVERSION && cat "$2"/*.go "$2"/go.mod "$2"/go.sum; } | cksum)
	if [ -x "$bin/$1" ] && [ "$(cat "$bin/$1.sources" 2>/dev/null)" = "$sources" ]; then
		return
	fi
	say "building $1 into $bin; about $3 on 2 cores, the first time"
	mkdir -p "$bin"
	(cd "$2" && go build -o "$bin/$1" .) || fail "could not build $1; what go said stands above"
	printf '%s\n' "$sources" >"$bin/$1.sources"
}

fetch_flights() {
	have_flights && return
	say "fetching the npm package $flights $flights_version (17 MB) into $data, once"
	mkdir -p "$data"
	temp=$(mktemp -d "$data/fetch.XXXXXX")
	file=$flights-$flights_version.tgz
	if ! npm pack "$flights@$flights_version" --silent --pack-destination "$temp" >/dev/null; then
		rm -rf "$temp"
		fail "npm could not fetch $flights@$flights_version; what it said stands above"
	fi
	sum=$({ sha256sum "$temp/$file" 2>/dev/null || shasum -a 256 "$temp/$file"; } | cut -d ' ' -f 1)
	if [ "$sum" != "$flights_sha256" ]; then
		rm -rf "$temp"
		fail "$file has the SHA-256 $sum, want $flights_sha256"
	fi
	mv "$temp/$file" "$data/$file"
	rmdir "$temp"
}

# have_clients NAME FILE: whether the clients that the file pins are in $compat/NAME.
have_clients() { cmp -s "$2" "$compat/$1/installed"; }

# get_clients NAME FILE ABOUT COMMAND: runs the command in a new folder $compat/NAME,
# unless what the file pins is there. A failed one leaves nothing that passes for whole.
get_clients() {
	have_clients "$1" "$2" && return
	say "installing the $1 clients into $compat/$1, once; about $3"
	rm -rf "${compat:?}/$1"
	mkdir -p "$compat/$1"
	log=$compat/$1.log
	if ! (cd "$compat/$1" && $4) >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		fail "could not install the $1 clients; the whole log is $log"
	fi
	cp "$2" "$compat/$1/installed"
}

# get_jars FOLDER: the jars that the folder's pom.xml lists, into the working directory.
get_jars() {
	mvn -B -q -f "$here/../$1/pom.xml" dependency:copy-dependencies -DoutputDirectory="$PWD"
}

get_python() {
	python3 -m venv . && bin/pip install --disable-pip-version-check -r "$here/../compat/python/requirements.txt"
}

# The addon of kafka-javascript would be fetched prebuilt from where no registry
# is; it is compiled against the headers of the Node.js here instead. Linked
# "dynamic", librdkafka takes zlib, OpenSSL and zstd from the system.
get_node() {
	cp "$here/../compat/node/package.json" "$here/../compat/node/package-lock.json" . &&
		npm ci --ignore-scripts --no-audit --no-fund &&
		CKJS_LINKING=dynamic npm_config_nodedir=$(node_root) npm_config_build_from_source=true \
			npm rebuild --foreground-scripts @confluentinc/kafka-javascript
}

case ${1:-} in
test)
	packages
	build minio "$minio" "$minio" "$minio_version" "3 minutes"
	build helm "$helm/cmd/helm" "$helm" "$helm_version" "2 minutes"
	build_here typed "$here/../deploy/typed" "1 minute"
	fetch_flights
	;;
lint)
	# A linter built by an older Go refuses a newer one's code.
	if [ -x "$bin/golangci-lint" ] && ! go version "$bin/golangci-lint" | grep -qF " $(go env GOVERSION)"; then
		rm -f "$bin/golangci-lint"
	fi
	build golangci-lint "$lint/cmd/golangci-lint" "$lint" "$lint_version" "1 minute"
	;;
compat)
	java_packages
	compat_packages
	get_clients java "$here/../compat/java/pom.xml" "1 minute" "get_jars compat/java"
	get_clients python "$here/../compat/python/requirements.txt" "1 minute" get_python
	get_clients node "$here/../compat/node/package-lock.json" "3 minutes on 2 cores" get_node
	;;
streams)
	java_packages
	get_clients streams "$here/../streams/java/pom.xml" "1 minute" "get_jars streams/java"
	;;
qemu)
	missing=
	command -v qemu-aarch64-static >/dev/null || missing=qemu-user-static
	install_packages
	;;
*)
	fail "usage: setup.sh test | lint | compat | streams | qemu"
	;;
esac
