#!/usr/bin/env bash
# Kafka's own command line tools.
#
# Called with the names of features to run, all without any, or with --list. Prints a line for each as soon as
# it is known: "ok NAME", "differs NAME: how" where Wadi answers otherwise than Kafka and is meant to, or
# "FAIL NAME: reason". A feature is a function below; the comment beside its name says what it is called.
set -euo pipefail

run=${COMPAT_RUN:-$$}
wadi=$([ "${COMPAT_TARGET:-wadi}" = kafka ] || echo yes)
bootstrap=(--bootstrap-server "$COMPAT_BOOTSTRAP")

feature_topics() { # kafka-topics: create, list, describe, add partitions, delete; bad names, configs and doubles are refused
	tool TopicCommand --create --topic "$name" --partitions 2 --config retention.ms=3600000
	expect "^Created topic $name\.$"
	refused TopicCommand --create --topic "$name" --partitions 2
	expect "Topic '$name' already exists"
	refused TopicCommand --create --topic 'no/topic'
	expect 'InvalidTopicException|contains one or more characters other than|is illegal'
	refused TopicCommand --create --topic "$name-2" --config no.such.config=1
	expect 'Unknown topic config name: no.such.config'
	tool TopicCommand --list
	expect "^$name$"
	tool TopicCommand --alter --topic "$name" --partitions 4
	tool TopicCommand --describe --topic "$name"
	expect "^Topic: $name.TopicId: [-_A-Za-z0-9]{22}.PartitionCount: 4.ReplicationFactor: 1.Configs: .*retention.ms=3600000"
	expect "Partition: 3.Leader: [0-9]+.Replicas: [0-9]+.Isr: [0-9]+"
	tool TopicCommand --describe --unavailable-partitions
	reject "$name"
	tool TopicCommand --delete --topic "$name"
	tool TopicCommand --list
	reject "^$name$"
	refused TopicCommand --describe --topic "$name"
	expect "Topic '$name' does not exist as expected"
}

feature_topic_configs() { # kafka-configs --entity-type topics: alter, describe, --all, delete; a bad value is refused
	create 1
	tool ConfigCommand --entity-type topics --entity-name "$name" --alter --add-config 'retention.ms=7200000,cleanup.policy=[delete,compact]'
	expect "Completed updating config for topic $name"
	tool ConfigCommand --entity-type topics --entity-name "$name" --describe
	expect 'retention.ms=7200000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=7200000'
	expect 'cleanup.policy=delete,compact '
	tool ConfigCommand --entity-type topics --entity-name "$name" --describe --all
	expect 'max.message.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message.max.bytes=1048588\}'
	tool ConfigCommand --entity-type topics --entity-name "$name" --alter --delete-config retention.ms
	tool ConfigCommand --entity-type topics --entity-name "$name" --describe
	reject 'retention.ms'
	refused ConfigCommand --entity-type topics --entity-name "$name" --alter --add-config retention.ms=forever
	expect 'InvalidConfigurationException|Invalid value forever'
}

feature_broker_configs() { # kafka-configs --entity-type brokers: describe one with --all, and the defaults
	tool BrokerApiVersionsCommand
	local broker
	broker=$(sed -En 's/.*\(id: ([0-9]+) rack.*/\1/p' <<<"$output" | head -n 1)
	tool ConfigCommand --entity-type brokers --entity-name "$broker" --describe --all
	expect 'num.partitions=[0-9]+ '
	expect 'advertised.listeners=PLAINTEXT://'
	expect 'log.retention.ms='
	expect 'default.replication.factor=1 '
	tool ConfigCommand --entity-type brokers --entity-default --describe
	expect 'Default configs for brokers in the cluster are'
}

feature_group_configs() { # kafka-configs --entity-type groups: alter, describe, delete
	tool ConfigCommand --entity-type groups --entity-name "$name" --alter --add-config consumer.session.timeout.ms=7000
	expect "Completed updating config for group $name"
	tool ConfigCommand --entity-type groups --entity-name "$name" --describe
	expect 'consumer.session.timeout.ms=7000 .*DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=7000'
	tool ConfigCommand --entity-type groups --entity-name "$name" --alter --delete-config consumer.session.timeout.ms
	tool ConfigCommand --entity-type groups --entity-name "$name" --describe
	reject 'consumer.session.timeout.ms'
}

feature_client_metrics() { # kafka-client-metrics: alter, list, describe, delete
	tool ClientMetricsCommand --alter --name "$name" --interval 60000 --metrics org.apache.kafka. --match client_id=x
	tool ClientMetricsCommand --list
	expect "^$name$"
	tool ClientMetricsCommand --describe --name "$name"
	expect 'interval.ms=60000'
	expect 'match=client_id=x'
	tool ClientMetricsCommand --delete --name "$name"
	tool ClientMetricsCommand --list
	reject "^$name$"
}

feature_console_assign() { # kafka-console-producer, kafka-console-consumer: keys, headers, by partition and offset
	create 1
	printf 'h1:v1,h2:v2\tkey1:value1\nh1:v3\tkey2:value2\nh1:v4\tkey3:\n' |
		tool ConsoleProducer --topic "$name" --reader-property parse.key=true --reader-property key.separator=: \
			--reader-property parse.headers=true
	tool consumer.ConsoleConsumer --topic "$name" --partition 0 --offset 1 --max-messages 2 --timeout-ms 60000 \
		--formatter-property print.key=true --formatter-property print.headers=true --formatter-property print.offset=true
	expect '^Offset:1.h1:v3.key2.value2$'
	expect '^Offset:2.h1:v4.key3.$'
	reject key1
}

feature_console_group() { # kafka-console-consumer --group: resumes where it stopped, with both group protocols
	create 3
	produce 'a b c d e f'
	for protocol in classic consumer; do
		tool consumer.ConsoleConsumer --topic "$name" --group "$name-$protocol" --from-beginning --max-messages 6 \
			--timeout-ms 60000 --command-property group.protocol=$protocol
		expect 'Processed a total of 6 messages'
		produce "$protocol"
		tool consumer.ConsoleConsumer --topic "$name" --group "$name-$protocol" --from-beginning --max-messages 1 \
			--timeout-ms 60000 --command-property group.protocol=$protocol
		expect "^$protocol$"
		# Of the six that the first group left, the second one starts at the beginning too.
		tool consumer.ConsoleConsumer --topic "$name" --from-beginning --max-messages 7 --timeout-ms 60000
		tool TopicCommand --delete --topic "$name"
		create 3
		produce 'a b c d e f'
	done
}

feature_groups_list() { # kafka-consumer-groups --describe (classic): offsets, members, state; --list by state; kafka-groups by type
	create 3
	produce 'a b c d e f'
	member "$name" classic
	tool consumer.group.ConsumerGroupCommand --list --state stable
	expect "^$name +Stable"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name"
	expect "^$name +$name +[0-2] +[0-9-]+ +[0-9]+ +[0-9-]+ +[^ ]+ +/127.0.0.1"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name" --members --verbose
	expect "^$name +[^ ]+ +/127.0.0.1 +[^ ]+ +3 .*$name:0,1,2"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name" --state
	expect "^$name +[^ ]+:[0-9]+ +\([0-9]+\) +range +Stable +1 *$"
	tool consumer.group.ConsumerGroupCommand --delete --group "$name" # fails, and exits with 0
	expect "Group '$name' could not be deleted due to: .*GroupNotEmptyException"
	end_member
	eventually 'the group is empty' "has no active members" consumer.group.ConsumerGroupCommand --describe --group "$name"
	tool GroupsCommand --list --group-type classic
	expect "^$name +Classic +consumer"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name-none" # fails, and exits with 0
	expect "GroupIdNotFoundException: Group $name-none not found"
}

feature_groups_list_consumer() { # kafka-consumer-groups --describe (consumer): members, state; --list by type; kafka-groups --consumer
	create 3
	produce 'a b c d e f'
	member "$name" consumer
	tool consumer.group.ConsumerGroupCommand --list --type consumer --state
	expect "^$name +Consumer +Stable"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name" --members --verbose
	expect "^$name .*Consumer|^$name .*true|^$name +[^ ]+ +/127.0.0.1"
	expect "$name:0,1,2"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name" --state --verbose
	expect "^$name +[^ ]+:[0-9]+ +\([0-9]+\) +uniform +Stable"
	end_member
	tool GroupsCommand --list --consumer
	expect "^$name +Consumer +consumer"
}

feature_reset_plan() { # kafka-consumer-groups --reset-offsets --dry-run: to earliest, latest, offset, date, current; by duration, by shift
	create 1
	produce 'a b c d e f g h i j'
	reset() { tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name" "$@"; }
	reset --to-offset 4 --execute
	plan() { reset "${@:2}" --dry-run && expect "^$name +$name +0 +$1"; }
	plan 0 --to-earliest
	plan 10 --to-latest
	plan 7 --to-offset 7
	plan 10 --to-offset 70
	plan 2 --shift-by -2
	plan 6 --shift-by 2
	plan 0 --by-duration PT1H
	plan 0 --to-datetime 2020-01-01T00:00:00.000
	plan 4 --to-current
	tool consumer.group.ConsumerGroupCommand --describe --group "$name" --offsets
	expect "^$name +$name +0 +4 +10 +6 "
}

feature_reset_execute() { # kafka-consumer-groups --reset-offsets --execute: to offset, earliest; --export and --from-file; refused while members live
	create 2
	produce 'a b c d e f g h i j'
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name:0" --to-offset 1 --execute
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --all-topics --to-latest --dry-run --export
	grep -E "^\"?$name\"?,0,[0-9]+$" <<<"$output" >"$folder/offsets.csv" || fail "no line of offsets to export in: $output"
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --from-file "$folder/offsets.csv" --execute
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name:1" --to-earliest --execute
	tool consumer.group.ConsumerGroupCommand --describe --group "$name"
	expect "^$name +$name +0 +[0-9]+ +[0-9]+ +0 "
	expect "^$name +$name +1 +0 "
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name" --to-earliest --execute
	member "$name" classic
	# The tool refuses by itself, or reports what the coordinator says: exit codes differ between versions.
	output=$(java_tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name" --to-earliest --execute 2>&1) || true
	expect 'Assignments can only be reset if the group .* is inactive|current state is Stable'
	end_member
}

feature_delete_offsets() { # kafka-consumer-groups --delete-offsets, --delete: of one partition, and of the group
	create 2
	tool consumer.group.ConsumerGroupCommand --reset-offsets --group "$name" --topic "$name" --to-earliest --execute
	tool consumer.group.ConsumerGroupCommand --delete-offsets --group "$name" --topic "$name:1"
	expect "$name +1 +Successful"
	tool consumer.group.ConsumerGroupCommand --describe --group "$name"
	expect "^$name +$name +0 "
	reject "^$name +$name +1 "
	tool consumer.group.ConsumerGroupCommand --delete --group "$name"
	expect "Deletion of requested consumer groups \('$name'\) was successful"
	tool consumer.group.ConsumerGroupCommand --list
	reject "^$name$"
}

feature_get_offsets() { # kafka-get-offsets: earliest, latest, max timestamp, by time
	create 1
	produce 'a b c'
	tool GetOffsetShell --topic "$name"
	expect "^$name:0:3$"
	tool GetOffsetShell --topic-partitions "$name:0" --time earliest
	expect "^$name:0:0$"
	tool GetOffsetShell --topic "$name" --time max-timestamp
	expect "^$name:0:[0-2]$"
	tool GetOffsetShell --topic "$name" --time 1000
	expect "^$name:0:0$"
}

feature_delete_records() { # kafka-delete-records: before an offset, seen by kafka-get-offsets and a consumer
	create 1
	produce 'a b c d'
	cat >"$folder/delete.json" <<-END
		{"partitions": [{"topic": "$name", "partition": 0, "offset": 3}], "version": 1}
	END
	tool DeleteRecordsCommand --offset-json-file "$folder/delete.json"
	expect "partition: $name-0.low_watermark: 3"
	tool GetOffsetShell --topic "$name" --time earliest
	expect "^$name:0:3$"
	tool consumer.ConsoleConsumer --topic "$name" --from-beginning --max-messages 1 --timeout-ms 60000
	expect '^d$'
}

feature_log_dirs() { # kafka-log-dirs: the size of a topic
	create 2
	produce 'a b c d'
	tool LogDirsCommand --describe --topic-list "$name"
	expect "\"partition\":\"$name-0\",\"size\":[0-9]+,\"offsetLag\":0,\"isFuture\":false"
	expect '"error":null'
	grep -Eq "\"partition\":\"$name-[01]\",\"size\":[1-9]" <<<"$output" || fail "no partition has a size in: $output"
}

feature_cluster() { # kafka-cluster: cluster-id, list-endpoints
	tool ClusterTool cluster-id
	expect '^Cluster ID: [-_A-Za-z0-9]{22}$'
	tool ClusterTool list-endpoints
	expect '^[0-9]+ +127.0.0.1 +[0-9]+ +[^ ]+ +unfenced +broker'
}

feature_features() { # kafka-features: describe, upgrade and downgrade for trial, refuses what it does not know
	tool FeatureCommand describe
	expect 'Feature: group.version.SupportedMinVersion: 0.SupportedMaxVersion: 1.FinalizedVersionLevel: 1'
	expect 'Feature: transaction.version.SupportedMinVersion: 0.SupportedMaxVersion: 2.FinalizedVersionLevel: [12].Epoch: [0-9]+'
	tool FeatureCommand downgrade --feature transaction.version=0 --dry-run
	expect '^transaction.version can be downgraded to 0\.$'
	tool FeatureCommand disable --feature transaction.version --dry-run
	expect '^transaction.version can be disabled\.$'
	tool FeatureCommand upgrade --feature transaction.version=2 --dry-run
	expect '^transaction.version can be upgraded to 2\.$'
	refused FeatureCommand upgrade --feature transaction.version=9
	expect 'Invalid update version 9 for feature transaction.version\. Local controller [0-9]+ only supports versions 0-2'
	refused FeatureCommand upgrade --feature no.such.feature=1
	expect 'Invalid update version 1 for feature no.such.feature\. Local controller [0-9]+ does not support this feature\.'
}

feature_transactions() { # kafka-transactions: list, describe, describe-producers, find-hanging, abort and forceTerminateTransaction after a producer died in its transaction
	create 1
	local command
	command_line ProducerPerformance --topic "$name" --num-records 1000000 --record-size 10 --throughput 20 \
		--transactional-id "$name" --transaction-duration-ms 600000
	"${command[@]}" >"$folder/member" 2>&1 &
	member=$!
	eventually 'the transaction has begun' '^[0-9]+[[:space:]]+[0-9]+[[:space:]]+(-1|None)[[:space:]]+[0-9]+[[:space:]]+[0-9]+[[:space:]]+0[[:space:]]*$' \
		TransactionsCommand describe-producers --topic "$name" --partition 0
	end_member
	tool TransactionsCommand list
	expect "^$name[[:space:]]+[0-9]+[[:space:]]+[0-9]+[[:space:]]+Ongoing"
	tool TransactionsCommand list --transactional-id-pattern "$name-[a-z]"
	reject "^$name"
	tool TransactionsCommand list --duration-filter 3600000
	reject "^$name"
	tool TransactionsCommand describe --transactional-id "$name"
	expect "^[0-9]+[[:space:]]+$name[[:space:]]+[0-9]+[[:space:]]+[0-9]+[[:space:]]+Ongoing[[:space:]]+[0-9]+[[:space:]].*$name-0"
	tool TransactionsCommand find-hanging --topic "$name" --max-transaction-timeout 0
	reject "^$name"
	if [ "$wadi" ]; then
		refused TransactionsCommand abort --topic "$name" --partition 0 --start-offset 0
		expect 'WRITE_TXN_MARKERS'
		differs 'a transaction ends in one change, so none can be left hanging: abort is refused'
	else
		tool TransactionsCommand abort --topic "$name" --partition 0 --start-offset 0
	fi
	tool TransactionsCommand forceTerminateTransaction --transactionalId "$name"
	eventually 'it is terminated' "^$name[[:space:]]+[0-9]+[[:space:]]+[0-9]+[[:space:]]+(Empty|CompleteAbort)" TransactionsCommand list
	tool TransactionsCommand describe --transactional-id "$name"
	reject "$name-0"
	refused TransactionsCommand describe --transactional-id "$name-none"
	expect 'the ID could not be found'
}

feature_api_versions() { # kafka-broker-api-versions: versions of groups and Produce
	tool BrokerApiVersionsCommand
	expect 'Produce\(0\): 0 to 13 \[usable: 13\]'
	expect 'ConsumerGroupHeartbeat\(68\): 0 to 1 \[usable: 1\]'
	expect 'OffsetCommit\(8\): 2 to 10 \[usable: 10\]'
	reject 'ERROR:'
}

feature_leader_election() { # kafka-leader-election: preferred, of one partition and of all
	create 1
	tool LeaderElectionCommand --election-type preferred --topic "$name" --partition 0
	expect "Valid replica already elected for partitions|$name-0|^$"
	tool LeaderElectionCommand --election-type preferred --all-topic-partitions
	refused LeaderElectionCommand --election-type preferred --topic "$name-none" --partition 0
	expect 'does not exist|UnknownTopicOrPartition'
}

feature_reassign() { # kafka-reassign-partitions: generate, execute, verify, list
	create 1
	tool BrokerApiVersionsCommand
	local brokers
	brokers=$(sed -En 's/.*\(id: ([0-9]+) rack.*/\1/p' <<<"$output" | paste -sd ,)
	echo "{\"topics\": [{\"topic\": \"$name\"}], \"version\": 1}" >"$folder/topics.json"
	tool reassign.ReassignPartitionsCommand --generate --topics-to-move-json-file "$folder/topics.json" --broker-list "$brokers"
	sed -n '/^Proposed/,$p' <<<"$output" | grep '^{' >"$folder/plan.json" || fail "no plan in: $output"
	tool reassign.ReassignPartitionsCommand --list
	expect 'No partition reassignments found'
	if [ "$wadi" ]; then
		java_tool reassign.ReassignPartitionsCommand --execute --reassignment-json-file "$folder/plan.json" >"$folder/out" 2>&1 || true
		output=$(<"$folder/out")
		expect 'Successfully started|Error reassigning partition|INVALID_REPLICA_ASSIGNMENT|InvalidReplicaAssignment'
		differs 'partitions lie on no agent, so there is nothing to move: a reassignment is refused unless it names the agent that Metadata shows'
	else
		tool reassign.ReassignPartitionsCommand --execute --reassignment-json-file "$folder/plan.json"
		expect 'Successfully started partition reassignment'
		tool reassign.ReassignPartitionsCommand --verify --reassignment-json-file "$folder/plan.json"
		expect "Reassignment of partition $name-0 is completed"
	fi
}

feature_metadata_quorum() { # kafka-metadata-quorum: describe --status, --replication
	tool MetadataQuorumCommand describe --status
	expect '^ClusterId: +[-_A-Za-z0-9]{22}$'
	expect '^LeaderId: +[0-9]+$'
	tool MetadataQuorumCommand describe --replication
	expect '^[0-9]+ .*Leader'
}

feature_acls() { # kafka-acls: list says that there is no authorizer
	output=$(java_tool AclCommand --list 2>&1) || true
	expect 'SecurityDisabledException: No Authorizer is configured'
}

feature_perf() { # kafka-producer-perf-test, kafka-consumer-perf-test: 5000 records, in a group
	create 3
	tool ProducerPerformance --topic "$name" --num-records 5000 --record-size 100 --throughput -1
	expect '^5000 records sent'
	tool ConsumerPerformance --topic "$name" --num-records 5000 --group "$name" --timeout 60000
	expect ', 5[0-9]{3}, '
}

feature_verifiable() { # kafka-verifiable-producer, kafka-verifiable-consumer: 1000 records, with both group protocols
	create 3
	tool VerifiableProducer --topic "$name" --max-messages 1000 --throughput -1
	expect '"name":"tool_data","sent":1000,"acked":1000'
	for protocol in classic consumer; do
		tool VerifiableConsumer --topic "$name" --group-id "$name-$protocol" --max-messages 1000 --reset-policy earliest \
			--group-protocol $protocol
		expect '"name":"partitions_assigned"'
		expect '"name":"offsets_committed".*"success":true'
	done
}

# tool CLASS ARGUMENTS runs a tool, keeps what it prints as $output, and wants it to succeed.
tool() {
	output=$(java_tool "$@" 2>&1) || fail "$* exits with $?: $output"
}

# refused CLASS ARGUMENTS wants it to fail.
refused() {
	if output=$(java_tool "$@" 2>&1); then
		fail "$* succeeds, and should not: $output"
	fi
}

java_tool() {
	local command
	command_line "$@"
	"${command[@]}"
}

# command_line puts the command that runs a tool, named by its class, into $command.
command_line() {
	local class=org.apache.kafka.tools.$1 where=("${bootstrap[@]}")
	shift
	case $class in
	*.ConfigCommand) class=kafka.admin.ConfigCommand ;;
	*.ClusterTool) # its command comes first
		where=("$1" "${where[@]}")
		shift
		;;
	esac
	# Tools live for a second: compile little.
	command=(timeout 180 java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
		-Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$COMPAT_JAVA/*" "$class" "${where[@]}" "$@")
}

expect() {
	grep -Eq -- "$1" <<<"$output" || fail "nothing matches /$1/ in: $output"
}

reject() {
	! grep -Eq -- "$1" <<<"$output" || fail "something matches /$1/ in: $output"
}

# eventually WHAT REGEX CLASS ARGUMENTS runs a tool until it prints what is wanted.
eventually() {
	for _ in 1 2 3 4 5 6; do
		output=$(java_tool "${@:3}" 2>&1) || true
		! grep -Eq -- "$2" <<<"$output" || return 0
	done
	fail "$1: nothing matches /$2/ in: $output"
}

create() {
	tool TopicCommand --create --topic "$name" --partitions "$1"
}

# produce 'VALUES' produces the words.
produce() {
	tr ' ' '\n' <<<"$1" | tool ConsoleProducer --topic "$name"
}

# member GROUP PROTOCOL starts a member in the background and waits until it has read something.
member() {
	local command
	command_line consumer.ConsoleConsumer --topic "$name" --group "$1" --from-beginning --command-property "group.protocol=$2"
	"${command[@]}" >"$folder/member" 2>"$folder/member.errors" &
	member=$!
	for _ in $(seq 600); do
		[ ! -s "$folder/member" ] || return 0
		kill -0 $member 2>/dev/null || fail "the member ended: $(<"$folder/member.errors")"
		sleep 0.1
	done
	fail "the member read nothing in a minute: $(<"$folder/member.errors")"
}

end_member() {
	kill $member # timeout passes the signal on
	wait $member || true
	member=
}

differs() { echo "differs: $*" >&3; }

fail() {
	echo "failure: $*" >&3
	exit 1
}

# title FUNCTION is the name of the feature, description FUNCTION what is tried.
title() { sed -En "s/^$1\(\) \{ # ([^:]*).*/\1/p" "$0"; }
description() { sed -En "s/^$1\(\) \{ # [^:]*: (.*)/\1/p" "$0"; }
functions() { sed -En 's/^(feature_[a-z_]+)\(\) \{ #.*/\1/p' "$0"; }

# A feature runs in a process of its own, where the first failure ends it; what it says of itself comes by descriptor 3.
if [ "${1:-}" = --run ]; then
	name=tools-${2#feature_}-$run
	name=${name//_/-}
	folder=$(mktemp -d)
	member=
	trap '[ -z "$member" ] || kill $member 2>/dev/null || true; rm -rf "$folder"' EXIT
	$2
	exit
fi
for function in $(functions); do
	title=$(title "$function")
	if [ "${1:-}" = --list ]; then
		printf '%s\t%s\n' "$title" "$(description "$function")"
		continue
	fi
	wanted=$#
	for argument in "$@"; do
		[ "$argument" != "$title" ] || wanted=0
	done
	[ $wanted = 0 ] || continue
	if said=$("$0" --run "$function" 3>&1 >&2); then
		[ -n "$said" ] && echo "differs $title: ${said#differs: }" || echo "ok $title"
	else
		said=${said#failure: }
		echo "FAIL $title: $(tr -s '[:space:]' ' ' <<<"${said:-the script failed, see its log}" | cut -c -1000)"
	fi
done
