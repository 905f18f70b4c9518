"""kafka-python, the client in pure Python."""

import sys
import threading
import time

from kafka import (ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata,
                   OffsetSpec, TopicPartition)
from kafka.admin import AlterConfigOp, ConfigResource
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import NoError, ProducerFencedError

import check
from check import equal, eventually, feature, shared_out

PARTITIONS = 6

# Longer than a rebalance takes: of one that is under way when a poll ends, kafka-python 3.0 sometimes ignores
# the outcome, with Kafka too.
POLL_MS = 2000
AFTER = [b"after %d" % p for p in range(PARTITIONS)]  # a record for each partition
SERVERS = {"bootstrap_servers": check.BOOTSTRAP.split(",")}

admin = KafkaAdminClient(**SERVERS)


def create_topic(name, partitions=PARTITIONS, **config):
    admin.create_topics({name: {"num_partitions": partitions, "configs": config}}, wait_for_metadata=True)


def produce(topic, values, **config):
    """Produces the values round the partitions."""
    producer = KafkaProducer(**SERVERS, **config)
    sent = [producer.send(topic, value, partition=n % PARTITIONS) for n, value in enumerate(values)]
    for future in sent:
        future.get(30)
    producer.close()


def consumer_of(group, **config):
    settings = SERVERS | {
        "group_id": group,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500,
        "metadata_max_age_ms": 1000,
    }
    return KafkaConsumer(**settings | config)


def read(consumer, count, seconds=30):
    """Reads count records, in the order of their values."""
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count and time.monotonic() < deadline:
        records += sum(consumer.poll(POLL_MS).values(), [])
    equal(len(records), count, "records read")
    return sorted(records, key=lambda r: r.value or b"")


def read_all(topic, count):
    consumer = consumer_of(None)
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    values = [r.value for r in read(consumer, count)]
    consumer.close()
    return values


class Member(threading.Thread, ConsumerRebalanceListener):
    """A group member that polls and commits until it is closed."""

    def __init__(self, group, topics=(), pattern=None, **config):
        super().__init__(daemon=True)
        self.consumer = consumer_of(group, **config)
        self.values, self.revoked, self.error = [], [], None
        self._assignment = set()  # as of the last poll; the consumer is for one thread only
        self._closing = threading.Event()
        self.consumer.subscribe(topics, pattern=pattern, listener=self)
        self.start()

    def on_partitions_assigned(self, assigned):
        pass

    def on_partitions_revoked(self, revoked):
        if revoked:
            self.revoked.append(sorted(p.partition for p in revoked))

    def run(self):
        try:
            while not self._closing.is_set():
                records = self.consumer.poll(POLL_MS)
                self._assignment = self.consumer.assignment()
                if records:
                    self.values += [r.value for batch in records.values() for r in batch]
                    self.consumer.commit_async()
        except Exception as e:
            self.error = e
        finally:
            self.consumer.close()

    def topics(self):
        return sorted({p.topic for p in self._assignment})

    def owned(self):
        if self.error:
            raise self.error
        return sorted(p.partition for p in self._assignment)

    def close(self):
        self._closing.set()
        self.join(30)
        if self.error:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@feature("produce-consume")
def produce_consume(name):
    create_topic(name, 1)
    an_hour_ago = int(time.time() * 1000) - 3_600_000
    producer = KafkaProducer(**SERVERS)
    producer.send(name, b"value", key=b"key", headers=[("h", b"1")], timestamp_ms=an_hour_ago).get(30)
    producer.send(name, None, key=b"tombstone").get(30)
    producer.close()
    consumer = consumer_of(None)
    consumer.assign([TopicPartition(name, 0)])
    tombstone, record = read(consumer, 2)
    equal((record.key, record.value, record.offset, record.timestamp), (b"key", b"value", 0, an_hour_ago))
    equal(list(record.headers), [("h", b"1")])
    equal((tombstone.key, tombstone.value, tombstone.offset), (b"tombstone", None, 1))
    consumer.close()


@feature("codecs")
def codecs(name):
    create_topic(name)
    values = []
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        batch = [f"{codec} {n:03} {'x' * 1000}".encode() for n in range(100)]
        produce(name, batch, compression_type=codec)
        values += batch
    equal(read_all(name, len(values)), sorted(values))


@feature("idempotence")
def idempotence(name):
    create_topic(name)
    values = [f"{n:05}".encode() for n in range(2000)]
    produce(name, values, enable_idempotence=True)
    equal(read_all(name, len(values)), values)


@feature("topics")
def topics(name):
    def partitions():
        return len(admin.describe_topics([name])[0]["partitions"])

    create_topic(name, 2)
    equal(partitions(), 2)
    admin.create_partitions({name: 4})
    eventually("4 partitions", lambda: partitions() == 4)
    paged = admin.describe_topic_partitions([name])
    assert name in str(paged), f"DescribeTopicPartitions knows only {paged}"
    admin.delete_topics([name])
    eventually("the topic is gone", lambda: name not in admin.list_topics())
    cluster = admin.describe_cluster()
    equal(len(cluster["cluster_id"]), 22, "length of the cluster's ID")


@feature("configs")
def configs(name):
    create_topic(name, 1, **{"retention.ms": "3600000"})

    def value(key, kind="topic", resource=name):
        described = admin.describe_configs([ConfigResource(kind, resource)], config_filter="all")
        return described[kind][resource][key]["value"]

    def alter(key, operation, value):
        admin.alter_configs([ConfigResource("topic", name, {key: (operation, value)})])

    equal(value("retention.ms"), "3600000")
    alter("retention.ms", AlterConfigOp.SET, "7200000")
    eventually("the new value", lambda: value("retention.ms") == "7200000")
    alter("cleanup.policy", AlterConfigOp.APPEND, "compact")
    eventually("both policies", lambda: value("cleanup.policy") == "delete,compact")
    alter("retention.ms", AlterConfigOp.DELETE, None)
    eventually("the default", lambda: value("retention.ms") == "604800000")
    broker = str(admin.describe_cluster()["brokers"][0]["broker_id"])
    assert int(value("num.partitions", "broker", broker)) > 0


@feature("groups")
def groups(name):
    create_topic(name)
    with Member(name, [name]) as member:
        eventually("all partitions", lambda: len(member.owned()) == PARTITIONS)
        group = eventually("the group is stable", lambda: _in_state(name, "Stable"))
        equal((group["protocol_type"], group["protocol_data"]), ("consumer", "range"))
        equal(len(group["members"]), 1, "members")
    assert eventually("the group is empty", lambda: _in_state(name, "Empty"))
    listed = [g["group_id"] for g in admin.list_groups(states_filter=["Empty"], types_filter=["classic"])]
    assert name in listed, "the empty group is not listed"
    equal(admin.delete_groups([name]), {name: "OK"})
    listed = [g["group_id"] for g in admin.list_groups()]
    assert name not in listed, "the deleted group is listed"


def _in_state(group, state):
    description = admin.describe_groups([group])[group]
    return description if description["group_state"] == state else None


@feature("offsets")
def offsets(name):
    create_topic(name)
    produce(name, [b"x"] * 60)
    wanted = {TopicPartition(name, p): OffsetAndMetadata(p + 1, "altered", -1) for p in range(PARTITIONS)}
    equal(set(admin.alter_group_offsets(name, wanted).values()), {NoError})
    committed = admin.list_group_offsets(name)[name]
    equal({p: (o.offset, o.metadata) for p, o in committed.items()}, {p: (o.offset, "altered") for p, o in wanted.items()})
    # What was altered is where a member starts.
    consumer = consumer_of(name)
    consumer.subscribe([name])
    read(consumer, 60 - sum(range(1, PARTITIONS + 1)))
    consumer.close()
    first = TopicPartition(name, 0)
    equal(admin.reset_group_offsets(name, {first: OffsetSpec.LATEST})[first]["offset"], 10)
    equal(set(admin.delete_group_offsets(name, [first]).values()), {NoError})
    assert first not in admin.list_group_offsets(name)[name], "the deleted offset is still there"


@feature("records")
def records(name):
    create_topic(name)
    produce(name, [b"x"] * 60)
    partition = TopicPartition(name, 0)

    def offset(spec):
        return admin.list_partition_offsets({partition: spec})[partition].offset

    equal((offset(OffsetSpec.EARLIEST), offset(OffsetSpec.LATEST)), (0, 10))
    admin.delete_records({partition: 4})
    equal(offset(OffsetSpec.EARLIEST), 4)
    consumer = consumer_of(None)
    equal(consumer.offsets_for_times({partition: 0})[partition].offset, 4)
    consumer.close()


@feature("pause-seek")
def pause_seek(name):
    create_topic(name, 1)
    producer = KafkaProducer(**SERVERS)
    for n in range(20):
        producer.send(name, str(n).encode()).get(30)
    consumer = consumer_of(name, max_poll_records=1)
    partition = TopicPartition(name, 0)
    consumer.subscribe([name])
    read(consumer, 20)
    consumer.seek(partition, 5)
    equal([r.offset for r in read(consumer, 1)], [5])
    equal(consumer.position(partition), 6, "position")
    consumer.pause(partition)
    producer.send(name, b"while paused").get(30)
    equal(consumer.poll(2000), {}, "polled while paused")
    consumer.seek(partition, 20)
    consumer.resume(partition)
    equal([r.value for r in read(consumer, 1)], [b"while paused"])
    equal((consumer.beginning_offsets([partition]), consumer.end_offsets([partition])), ({partition: 0}, {partition: 21}))
    consumer.close()
    producer.close()


def transactional(name):
    producer = KafkaProducer(**SERVERS, transactional_id=name)
    producer.init_transactions()
    return producer


def send(producer, topic, value):
    """Sends the value to each partition, and waits until all are written."""
    for future in [producer.send(topic, value, partition=p) for p in range(PARTITIONS)]:
        future.get(30)


def read_isolated(topic, isolation, count):
    """Returns the values of a partition, of which there must be count in each."""
    consumer = consumer_of(None, isolation_level=isolation)
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    records = read(consumer, PARTITIONS * count)
    equal(consumer.poll(500), {}, "more records")
    consumer.close()
    values = [[r.value for r in sorted(records, key=lambda r: r.offset) if r.partition == p]
              for p in range(PARTITIONS)]
    equal(values, [values[0]] * PARTITIONS, "values by partition")
    return values[0]


@feature("transactions")
def transactions(name):
    create_topic(name)
    producer = transactional(name)
    for n in range(6):
        producer.begin_transaction()
        send(producer, name, b"transaction %d" % n)
        if n % 2 == 0:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.begin_transaction()
    send(producer, name, b"transaction 6")
    committed = [b"transaction %d" % n for n in (0, 2, 4, 6)]
    equal(read_isolated(name, "read_committed", 3), committed[:3], "committed with a transaction open")
    equal(len(set(read_isolated(name, "read_uncommitted", 7))), 7, "different values, uncommitted ones too")
    producer.commit_transaction()
    equal(read_isolated(name, "read_committed", 4), committed, "committed")
    producer.close()


@feature("transactions-offsets")
def transactions_offsets(name):
    create_topic(name)
    produce(name, [b"x"] * 10 * PARTITIONS)
    consumer = consumer_of(name)
    consumer.subscribe([name])
    read(consumer, 10 * PARTITIONS)
    partition = TopicPartition(name, 0)
    producer = transactional(name)
    for offset, end, want in [(4, producer.commit_transaction, 4), (6, producer.abort_transaction, 4),
                              (8, producer.commit_transaction, 8)]:
        producer.begin_transaction()
        producer.send_offsets_to_transaction({partition: OffsetAndMetadata(offset, "", -1)}, consumer.group_metadata())
        end()
        # It is told as soon as the transaction has ended everywhere.
        eventually(f"offset {want}", lambda: admin.list_group_offsets(name)[name][partition].offset == want)
    producer.close()
    consumer.close()


@feature("transactions-fencing")
def transactions_fencing(name):
    create_topic(name)
    first = transactional(name)
    first.begin_transaction()
    send(first, name, b"by the first")
    second = transactional(name)
    try:
        first.commit_transaction()
        raise AssertionError("the first producer committed")
    except ProducerFencedError:
        pass
    second.begin_transaction()
    send(second, name, b"by the second")
    second.commit_transaction()
    second.close()
    equal(read_isolated(name, "read_committed", 1), [b"by the second"])


@feature("group-rebalance")
def group_rebalance(name, **config):
    create_topic(name)
    with Member(name, [name], **config) as first:
        eventually("the first member owns all", lambda: len(first.owned()) == PARTITIONS)
        with Member(name, [name], **config) as second, Member(name, [name], **config) as third:
            members = [first, second, third]
            eventually("three members share", lambda: shared_out(members, PARTITIONS))
            values = {str(n).encode() for n in range(60)}
            produce(name, sorted(values))
            eventually("they read everything", lambda: {v for m in members for v in m.values} == values)
        eventually("the first member owns all again", lambda: len(first.owned()) == PARTITIONS)
        produce(name, AFTER)
        eventually("it reads all partitions", lambda: set(AFTER) <= set(first.values))
        return list(first.revoked)


@feature("group-crash")
def group_crash(name):
    create_topic(name)
    with Member(name, [name]) as survivor:
        eventually("the survivor owns all", lambda: len(survivor.owned()) == PARTITIONS)
        with check.Victim(name, name) as victim:
            victim.wait_until_assigned()
            eventually("they share", lambda: 0 < len(survivor.owned()) < PARTITIONS)
            victim.kill()
        produce(name, AFTER)
        eventually("the survivor owns all again", lambda: len(survivor.owned()) == PARTITIONS)
        eventually("it reads all partitions", lambda: set(AFTER) <= set(survivor.values))


def member_to_kill(group, topic):
    consumer = consumer_of(group)
    consumer.subscribe([topic])
    printed = set()
    while True:
        consumer.poll(POLL_MS)
        if (owned := consumer.assignment()) != printed:
            print(*sorted(p.partition for p in owned), flush=True)
            printed = owned


@feature("group-commit")
def group_commit(name):
    create_topic(name, 1)
    produce_to_first = KafkaProducer(**SERVERS)
    for n in range(30):
        produce_to_first.send(name, f"{n:02}".encode()).get(30)
    produce_to_first.close()
    partition = TopicPartition(name, 0)
    consumer = consumer_of(name)
    consumer.subscribe([name])
    read(consumer, 30)
    consumer.commit({partition: OffsetAndMetadata(10, "ten", -1)})
    committed = consumer.committed(partition, metadata=True)
    equal((committed.offset, committed.metadata), (10, "ten"), "committed")
    consumer.commit_async({partition: OffsetAndMetadata(12, "", -1)})
    eventually("the asynchronous commit", lambda: consumer.poll(50) == {} and consumer.committed(partition) == 12)
    consumer.close()
    consumer = consumer_of(name)
    consumer.subscribe([name])
    equal([r.value for r in read(consumer, 18)][0], b"12", "first record after the restart")
    consumer.close()


@feature("group-static")
def group_static(name):
    create_topic(name)
    with Member(name, [name], group_instance_id="other") as other:
        returning = Member(name, [name], group_instance_id="returning")
        eventually("they share", lambda: shared_out([other, returning], PARTITIONS))
        mine, revocations = returning.owned(), len(other.revoked)
        returning.close()
        with Member(name, [name], group_instance_id="returning") as returning:
            eventually("it is back", lambda: returning.owned() == mine)
            equal(len(other.revoked), revocations, "revocations that the other member saw")


@feature("group-cooperative")
def group_cooperative(name):
    revoked = group_rebalance(name, partition_assignment_strategy=[CooperativeStickyAssignor])
    equal([ps for ps in revoked if len(ps) == PARTITIONS], [], "revocations of everything while the group lived")


# kafka-python looks for topics when it subscribes; one that came later it did not find. By then every broker must
# have heard of them.
@feature("group-regex")
def group_regex(name):
    create_topic(f"{name}-1", 1)
    create_topic(f"{name}-2", 1)
    time.sleep(2)
    with Member(name, pattern=f"^{name}-[0-9]$") as member:
        eventually("both topics", lambda: member.topics() == [f"{name}-1", f"{name}-2"])


if sys.argv[1:2] == ["--member"]:
    member_to_kill(*sys.argv[2:])
check.main()
