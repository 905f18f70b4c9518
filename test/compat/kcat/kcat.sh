#!/usr/bin/env bash
# kcat, the command line client on librdkafka; Debian's has librdkafka 2.0, so it also stands for older clients.
#
# Called with the names of features to run, all without any, or with --list. Prints a line for each as soon as
# it is known: "ok NAME" or "FAIL NAME: reason".
set -euo pipefail

run=${COMPAT_RUN:-$$}

# kcat creates no topics: they are created automatically, and have four partitions.
produce-consume() {
	printf 'key:value\n' | kc -P -t "$name" -p 0 -K : -H h=1
	printf 'tombstone:\n' | kc -P -t "$name" -p 0 -K : -Z
	expect 'key=value h=1 @0' kc -C -t "$name" -p 0 -o beginning -c 1 -f '%k=%s %h @%o\n'
	expect 'tombstone -1' kc -C -t "$name" -p 0 -o 1 -c 1 -f '%k %S\n'
}

codecs() {
	for codec in none gzip snappy lz4 zstd; do
		seq -f "$codec %g" 100 | kc -P -t "$name" -z $codec
	done
	expect 500 lines kc -C -t "$name" -o beginning -e -f '%s\n'
}

idempotence() {
	seq 2000 | kc -P -t "$name" -X enable.idempotence=true
	expect 2000 lines kc -C -t "$name" -o beginning -e -f '%s\n'
}

# kcat produces its whole input as one transaction.
transactions() {
	seq 100 | kc -P -t "$name" -p 0 -X transactional.id="$name"
	expect 100 lines kc -C -t "$name" -o beginning -e -X isolation.level=read_committed
	mkfifo "$folder/input"
	kcat -q -b "$COMPAT_BOOTSTRAP" -P -t "$name" -p 0 -X transactional.id="$name" <"$folder/input" &
	pids+=($!)
	exec 4>"$folder/input"
	seq 1000 >&4
	eventually 'more is written' uncommitted
	kill -KILL "${pids[0]}"
	exec 4>&-
	expect 100 lines kc -C -t "$name" -o beginning -e -X isolation.level=read_committed
	# A second one with the ID aborts what the first left open.
	echo last | kc -P -t "$name" -p 0 -X transactional.id="$name"
	expect 101 lines kc -C -t "$name" -o beginning -e -X isolation.level=read_committed
}

uncommitted() { [ "$(kc -C -t "$name" -o beginning -e -X isolation.level=read_uncommitted | wc -l)" -gt 100 ]; }

records() {
	seq 10 | kc -P -t "$name" -p 0
	expect "$name [0] offset 10" kc -Q -t "$name:0:-1"
	expect "$name [0] offset 0" kc -Q -t "$name:0:1000"
}

topics() {
	seq 1 | kc -P -t "$name"
	expect "$name" kc -L -t "$name" -J
	expect '"originating_broker"' kc -L -J
}

# Members join and leave: what they read together is everything.
group-rebalance() { members -X partition.assignment.strategy=range,roundrobin; }

group-cooperative() { members -X partition.assignment.strategy=cooperative-sticky; }

group-regex() {
	echo one | kc -P -t "$name-1"
	echo two | kc -P -t "$name-2"
	sleep 2 # until every broker has heard of them
	member first '^'"$name"'-[0-9]'
	eventually 'both topics are read' reads 2 first
}

group-crash() {
	produce_numbers 100
	member first "$name"
	member second "$name"
	eventually 'both members are assigned' assigned first second
	kill -KILL "${pids[1]}"
	: >"$folder/first"
	# Its partitions are the other's as soon as its session has timed out.
	eventually 'the survivor reads all partitions' survivor_reads_all
}

survivor_reads_all() {
	produce_numbers 100
	sleep 1
	[ "$(cut -d ' ' -f 1 <"$folder/first" | sort -u | wc -l)" = 4 ]
}

group-commit() {
	produce_numbers 20
	expect 20 lines timeout 30 kcat -q -b "$COMPAT_BOOTSTRAP" -c 20 -f '%s\n' "${group[@]}" -G "$name" "$name"
	echo later | kc -P -t "$name"
	expect later timeout 30 kcat -q -b "$COMPAT_BOOTSTRAP" -c 1 -f '%s\n' "${group[@]}" -G "$name" "$name"
}

group-static() {
	produce_numbers 100
	member first "$name" -X group.instance.id=one
	member second "$name" -X group.instance.id=two
	eventually 'both members are assigned' assigned first second
	local before
	before=$(grep -c 'rebalanced' "$folder/second.log")
	kill "${pids[0]}"
	wait "${pids[0]}" || true
	member first "$name" -X group.instance.id=one
	eventually 'the member is assigned again' assigned first
	[ "$(grep -c 'rebalanced' "$folder/second.log")" = "$before" ] || fail "the other member was rebalanced"
}

group=(-X auto.offset.reset=earliest -X session.timeout.ms=6000 -X heartbeat.interval.ms=500
	-X topic.metadata.refresh.interval.ms=1000)

members() {
	produce_numbers 100
	member first "$name" "$@"
	eventually 'the first member reads everything' reads 100 first
	member second "$name" "$@"
	eventually 'both members are assigned' assigned second
	produce_numbers 400
	eventually 'both members together read everything' reads 500 first second
	[ -s "$folder/second" ] || fail "the second member read nothing"
	kill "${pids[1]}"
	wait "${pids[1]}" || true
	produce_numbers 400
	eventually 'the first member reads the rest' reads 900 first second
}

# produce_numbers COUNT spreads that many records over four partitions.
produce_numbers() {
	seq "$1" | kc -P -t "$name" -X sticky.partitioning.linger.ms=0
}

# member NAME TOPIC ARGUMENTS starts a member in the background.
pids=()
member() {
	kcat -b "$COMPAT_BOOTSTRAP" -u -f '%p %s\n' "${group[@]}" "${@:3}" -G "$name" "$2" \
		>>"$folder/$1" 2>"$folder/$1.log" &
	pids+=($!)
}

# reads COUNT MEMBERS tells whether they have read at least that many records.
reads() { [ "$(cd "$folder" && cat "${@:2}" | wc -l)" -ge "$1" ]; }

assigned() {
	local member
	for member in "$@"; do
		grep -Eq 'rebalanced.*assign.*\[[0-9]+\]' "$folder/$member.log" || return 1
	done
}

kc() { timeout 60 kcat -q -b "$COMPAT_BOOTSTRAP" "$@"; }

# expect TEXT COMMAND wants the text in its output, expect COUNT lines COMMAND so many lines.
expect() {
	local want=$1 output got
	shift
	if [ "$1" = lines ]; then
		shift
		got=$("$@" | wc -l)
		[ "$got" = "$want" ] || fail "$*: $got lines, want $want"
		return
	fi
	output=$("$@")
	[[ $output == *"$want"* ]] || fail "$*: no '$want' in '$output'"
}

# eventually WHAT COMMAND waits until the command succeeds.
eventually() {
	local deadline=$((SECONDS + 60))
	until "${@:2}"; do
		[ $SECONDS -lt $deadline ] || fail "$1: not within 60 s; $(tail -n 3 "$folder"/*.log | tr '\n' ' ')"
		sleep 0.2
	done
}

fail() {
	echo "$*" >&3
	exit 1
}

features='produce-consume codecs idempotence transactions topics records group-rebalance group-crash group-commit group-static group-cooperative group-regex'

# A feature runs in a process of its own, where the first failure ends it; its reason comes by descriptor 3.
if [ "${1:-}" = --run ]; then
	name=kcat-$2-$run
	folder=$(mktemp -d)
	trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$folder"' EXIT
	$2
	exit
fi
if [ "${1:-}" = --list ]; then
	tr ' ' '\n' <<<"$features"
	exit
fi
[ $# -gt 0 ] || set -- $features
for feature in "$@"; do
	if reason=$("$0" --run "$feature" 3>&1 >&2); then
		echo "ok $feature"
	else
		echo "FAIL $feature: $(tr -s '[:space:]' ' ' <<<"${reason:-the script failed, see its log}")"
	fi
done
