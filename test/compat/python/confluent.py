"""confluent-kafka, the Python client on librdkafka."""

import sys
import threading
import time

from confluent_kafka import (OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, Consumer, ConsumerGroupState,
                             ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic, OffsetSpec, ResourceType)

import check
from check import equal, eventually, feature, shared_out

SERVERS = {"bootstrap.servers": check.BOOTSTRAP}
PARTITIONS = 6
AFTER = [b"after %d" % p for p in range(PARTITIONS)]  # a record for each partition

admin = AdminClient(SERVERS)


def create_topic(name, partitions=PARTITIONS, **config):
    admin.create_topics([NewTopic(name, partitions, config=config)])[name].result()
    # Brokers hear of a new topic a moment later.
    eventually("the topic is known", lambda: name in admin.list_topics().topics)


def produce(topic, values, **config):
    """Produces the values round the partitions."""
    producer = Producer(SERVERS | config)
    failed = []
    for n, value in enumerate(values):
        producer.produce(topic, value, partition=n % PARTITIONS, on_delivery=lambda e, _: e and failed.append(e))
    equal(producer.flush(30), 0, "records not delivered in time")
    equal(failed, [], "failed deliveries")


def consumer_of(group, protocol="classic", **config):
    settings = SERVERS | {
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 1000,
    }
    if protocol == "classic":  # the broker decides with the consumer protocol
        settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return Consumer(settings | {k.replace("_", "."): v for k, v in config.items()})


def read(consumer, count, seconds=30):
    """Reads count records, in the order of their values."""
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count and time.monotonic() < deadline:
        record = consumer.poll(0.2)
        if record is None:
            continue
        if record.error():
            raise KafkaException(record.error())
        records.append(record)
    equal(len(records), count, "records read")
    return sorted(records, key=lambda r: r.value() or b"")


class Member(threading.Thread):
    """A group member that polls and commits until it is closed."""

    def __init__(self, group, topics, protocol="classic", **config):
        super().__init__(daemon=True)
        self.consumer = consumer_of(group, protocol, **config)
        self.values, self.revoked, self.error = [], [], None
        self._assignment = []  # as of the last poll; only the polling thread may ask the consumer
        self._closing = threading.Event()
        self.consumer.subscribe(topics, on_revoke=lambda _, ps: self.revoked.append([p.partition for p in ps]))
        self.start()

    def run(self):
        try:
            while not self._closing.is_set():
                record = self.consumer.poll(0.1)
                self._assignment = self.consumer.assignment()
                if record and not record.error():
                    self.values.append(record.value())
                    self.consumer.commit(record, asynchronous=True)
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
    producer = Producer(SERVERS)
    producer.produce(name, b"value", key=b"key", headers=[("h", b"1"), ("h", None)], timestamp=an_hour_ago)
    producer.produce(name, None, key=b"tombstone")
    equal(producer.flush(30), 0, "records not delivered in time")
    consumer = consumer_of(name)
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    tombstone, record = read(consumer, 2)
    equal((record.key(), record.value(), record.offset()), (b"key", b"value", 0))
    equal(record.headers(), [("h", b"1"), ("h", None)])
    equal(record.timestamp(), (TIMESTAMP_CREATE_TIME, an_hour_ago))
    equal((tombstone.key(), tombstone.value(), tombstone.offset()), (b"tombstone", None, 1))
    consumer.close()


@feature("codecs")
def codecs(name):
    create_topic(name)
    values = []
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        batch = [f"{codec} {n:03} {'x' * 1000}".encode() for n in range(100)]
        produce(name, batch, **{"compression.type": codec})
        values += batch
    consumer = consumer_of(name)
    consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    equal([r.value() for r in read(consumer, len(values))], sorted(values))
    consumer.close()


@feature("idempotence")
def idempotence(name):
    create_topic(name)
    values = [f"{n:05}".encode() for n in range(2000)]
    produce(name, values, **{"enable.idempotence": True})
    consumer = consumer_of(name)
    consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    equal([r.value() for r in read(consumer, len(values))], values)
    consumer.close()


@feature("topics")
def topics(name):
    create_topic(name, 2)
    description = admin.describe_topics(TopicCollection([name]))[name].result()
    equal(len(description.partitions), 2, "partitions")
    admin.create_partitions([NewPartitions(name, 4)])[name].result()
    eventually("4 partitions", lambda: len(admin.list_topics(name).topics[name].partitions) == 4)
    admin.delete_topics([name])[name].result()
    eventually("the topic is gone", lambda: name not in admin.list_topics().topics)
    cluster = admin.describe_cluster().result()
    equal(len(cluster.cluster_id), 22, "length of the cluster's ID")
    assert cluster.controller.id in [n.id for n in cluster.nodes], "the controller is none of the nodes"


@feature("configs")
def configs(name):
    create_topic(name, 1, **{"retention.ms": "3600000"})

    def value(key, resource=ConfigResource(ResourceType.TOPIC, name)):
        return admin.describe_configs([resource])[resource].result()[key].value

    def alter(key, operation, value):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()

    equal(value("retention.ms"), "3600000")
    alter("retention.ms", AlterConfigOpType.SET, "7200000")
    eventually("the new value", lambda: value("retention.ms") == "7200000")
    alter("cleanup.policy", AlterConfigOpType.APPEND, "compact")
    eventually("both policies", lambda: value("cleanup.policy") == "delete,compact")
    alter("retention.ms", AlterConfigOpType.DELETE, None)
    eventually("the default", lambda: value("retention.ms") == "604800000")
    broker = next(iter(admin.list_topics().brokers))
    assert int(value("num.partitions", ConfigResource(ResourceType.BROKER, str(broker)))) > 0


@feature("groups")
def groups(name):
    create_topic(name)
    with Member(name, [name]) as member:
        eventually("all partitions", lambda: len(member.owned()) == PARTITIONS)
        group = eventually("the group is stable", lambda: _stable(name))
        equal(group.partition_assignor, "range")
        equal([len(m.assignment.topic_partitions) for m in group.members], [PARTITIONS], "partitions of the members")
    listed = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result().valid
    assert name in [g.group_id for g in listed], "the empty group is not listed"
    admin.delete_consumer_groups([name])[name].result()
    listed = admin.list_consumer_groups().result().valid
    assert name not in [g.group_id for g in listed], "the deleted group is listed"


def _stable(name):
    group = admin.describe_consumer_groups([name])[name].result()
    return group if group.state == ConsumerGroupState.STABLE else None


@feature("offsets")
def offsets(name):
    create_topic(name)
    produce(name, [b"x"] * 60)

    def committed():
        request = ConsumerGroupTopicPartitions(name)
        result = admin.list_consumer_group_offsets([request])[name].result()
        return {p.partition: p.offset for p in result.topic_partitions}

    alteration = ConsumerGroupTopicPartitions(name, [TopicPartition(name, p, p + 1) for p in range(PARTITIONS)])
    admin.alter_consumer_group_offsets([alteration])[name].result()
    equal(committed(), {p: p + 1 for p in range(PARTITIONS)})
    # What was altered is where a member starts.
    consumer = consumer_of(name)
    consumer.subscribe([name])
    read(consumer, 60 - sum(range(1, PARTITIONS + 1)))
    consumer.close()


@feature("records")
def records(name):
    create_topic(name)
    produce(name, [b"x"] * 60)
    partition = TopicPartition(name, 0)

    def offset(spec):
        return admin.list_offsets({partition: spec})[partition].result().offset

    equal((offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())), (0, 10))
    deleted = admin.delete_records([TopicPartition(name, 0, 4)])
    equal([f.result().low_watermark for f in deleted.values()], [4], "low watermark")
    equal(offset(OffsetSpec.earliest()), 4)
    equal(offset(OffsetSpec.for_timestamp(0)), 4)


@feature("pause-seek")
def pause_seek(name):
    create_topic(name, 1)
    producer = Producer(SERVERS)
    for n in range(20):
        producer.produce(name, str(n).encode())
    producer.flush(30)
    consumer = consumer_of(name)
    partition = TopicPartition(name, 0)
    consumer.subscribe([name])
    read(consumer, 20)
    consumer.seek(TopicPartition(name, 0, 5))
    equal([r.offset() for r in read(consumer, 1)], [5])
    equal(consumer.position([partition])[0].offset, 6, "position")
    consumer.pause([partition])
    producer.produce(name, b"while paused")
    producer.flush(30)
    equal(consumer.poll(2), None, "polled while paused")
    consumer.seek(TopicPartition(name, 0, 20))
    consumer.resume([partition])
    equal([r.value() for r in read(consumer, 1)], [b"while paused"])
    equal(consumer.get_watermark_offsets(partition), (0, 21))
    consumer.close()


def transactional(name, **config):
    producer = Producer(SERVERS | {"transactional.id": name} | config)
    producer.init_transactions(30)
    return producer


def send(producer, topic, value):
    """Sends the value to each partition, and waits until all are written."""
    for partition in range(PARTITIONS):
        producer.produce(topic, value, partition=partition)
    equal(producer.flush(30), 0, "records not delivered in time")


def read_isolated(topic, isolation, count):
    """Returns the values of a partition, of which there must be count in each."""
    consumer = consumer_of(topic, isolation_level=isolation)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    records = read(consumer, PARTITIONS * count)
    equal(consumer.poll(0.5), None, "a record more")
    consumer.close()
    values = [[r.value() for r in sorted(records, key=lambda r: r.offset()) if r.partition() == p]
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
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    producer.begin_transaction()
    send(producer, name, b"transaction 6")
    committed = [b"transaction %d" % n for n in (0, 2, 4, 6)]
    equal(read_isolated(name, "read_committed", 3), committed[:3], "committed with a transaction open")
    equal(len(set(read_isolated(name, "read_uncommitted", 7))), 7, "different values, uncommitted ones too")
    producer.commit_transaction(30)
    equal(read_isolated(name, "read_committed", 4), committed, "committed")


@feature("transactions-offsets")
def transactions_offsets(name):
    create_topic(name)
    produce(name, [b"x"] * 10 * PARTITIONS)
    consumer = consumer_of(name)
    consumer.subscribe([name])
    read(consumer, 10 * PARTITIONS)
    partition = TopicPartition(name, 0)

    def committed():
        return consumer.committed([partition], timeout=30)[0].offset

    producer = transactional(name)
    for offset, end, want in [(4, producer.commit_transaction, 4), (6, producer.abort_transaction, 4),
                              (8, producer.commit_transaction, 8)]:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            [TopicPartition(name, 0, offset)], consumer.consumer_group_metadata(), 30)
        end(30)
        equal(committed(), want, "committed")
    consumer.close()


@feature("transactions-fencing")
def transactions_fencing(name):
    create_topic(name)
    first = transactional(name)
    first.begin_transaction()
    send(first, name, b"by the first")
    second = transactional(name)
    try:
        first.commit_transaction(30)
        raise AssertionError("the first producer committed")
    except KafkaException as e:
        equal((e.args[0].code(), e.args[0].fatal()), (KafkaError._FENCED, True), "error of the first producer")
    second.begin_transaction()
    send(second, name, b"by the second")
    second.commit_transaction(30)
    equal(read_isolated(name, "read_committed", 1), [b"by the second"])


@feature("group-rebalance")
def group_rebalance(name, protocol="classic", **config):
    create_topic(name)
    with Member(name, [name], protocol, **config) as first:
        eventually("the first member owns all", lambda: len(first.owned()) == PARTITIONS)
        with Member(name, [name], protocol, **config) as second, Member(name, [name], protocol, **config) as third:
            members = [first, second, third]
            eventually("three members share", lambda: shared_out(members, PARTITIONS))
            values = {str(n).encode() for n in range(60)}
            produce(name, sorted(values))
            eventually("they read everything", lambda: {v for m in members for v in m.values} == values)
        eventually("the first member owns all again", lambda: len(first.owned()) == PARTITIONS)
        produce(name, AFTER)
        eventually("it reads all partitions", lambda: set(AFTER) <= set(first.values))
    return first


@feature("group-crash")
def group_crash(name, protocol="classic"):
    create_topic(name)
    with Member(name, [name], protocol) as survivor:
        eventually("the survivor owns all", lambda: len(survivor.owned()) == PARTITIONS)
        with check.Victim(name, name, protocol) as victim:
            victim.wait_until_assigned()
            eventually("they share", lambda: 0 < len(survivor.owned()) < PARTITIONS)
            victim.kill()
        produce(name, AFTER)
        eventually("the survivor owns all again", lambda: len(survivor.owned()) == PARTITIONS)
        eventually("it reads all partitions", lambda: set(AFTER) <= set(survivor.values))


def member_to_kill(group, topic, protocol):
    consumer = consumer_of(group, protocol)
    consumer.subscribe([topic])
    printed = None
    while True:
        consumer.poll(0.1)
        owned = sorted(p.partition for p in consumer.assignment())
        if owned != printed:
            print(*owned, flush=True)
            printed = owned


@feature("group-commit")
def group_commit(name, protocol="classic"):
    create_topic(name, 1)
    producer = Producer(SERVERS)
    for n in range(30):
        producer.produce(name, f"{n:02}".encode())
    producer.flush(30)
    consumer = consumer_of(name, protocol)
    consumer.subscribe([name])
    read(consumer, 30)
    consumer.commit(offsets=[TopicPartition(name, 0, 10, metadata="ten")], asynchronous=False)
    committed = consumer.committed([TopicPartition(name, 0)])[0]
    equal((committed.offset, committed.metadata), (10, "ten"), "committed")
    consumer.commit(offsets=[TopicPartition(name, 0, 12)], asynchronous=True)
    eventually("the asynchronous commit", lambda: consumer.committed([TopicPartition(name, 0)])[0].offset == 12)
    consumer.close()
    consumer = consumer_of(name, protocol)
    consumer.subscribe([name])
    equal([r.value() for r in read(consumer, 18)][0], b"12", "first record after the restart")
    consumer.close()


@feature("group-static")
def group_static(name, protocol="classic"):
    create_topic(name)
    with Member(name, [name], protocol, group_instance_id="other") as other:
        returning = Member(name, [name], protocol, group_instance_id="returning")
        eventually("they share", lambda: shared_out([other, returning], PARTITIONS))
        mine, revocations = returning.owned(), len(other.revoked)
        returning.close()
        with Member(name, [name], protocol, group_instance_id="returning") as returning:
            eventually("it is back", lambda: returning.owned() == mine)
            equal(len(other.revoked), revocations, "revocations that the other member saw")


@feature("group-cooperative")
def group_cooperative(name, protocol="classic"):
    config = {} if protocol == "consumer" else {"partition_assignment_strategy": "cooperative-sticky"}
    first = group_rebalance(name, protocol, **config)
    # Sharing 6 among 3 takes 4 away from the first member; the other 2 it keeps
    # until it closes, when all of them are revoked.
    kept = [ps for ps in first.revoked[:-1] if len(ps) == PARTITIONS]
    equal(kept, [], "revocations of everything while the group lived")


@feature("group-regex")
def group_regex(name, protocol="classic"):
    create_topic(f"{name}-1", 1)
    with Member(name, [f"^{name}-[0-9]$"], protocol) as member:
        eventually("the first topic", lambda: member.topics() == [f"{name}-1"])
        create_topic(f"{name}-2", 1)
        eventually("the topic that came later", lambda: member.topics() == [f"{name}-1", f"{name}-2"])


@feature("consumer-rebalance")
def consumer_rebalance(name):
    group_cooperative(name, "consumer")


@feature("consumer-crash")
def consumer_crash(name):
    group_crash(name, "consumer")


@feature("consumer-commit")
def consumer_commit(name):
    group_commit(name, "consumer")


@feature("consumer-static")
def consumer_static(name):
    group_static(name, "consumer")


@feature("consumer-regex")
def consumer_regex(name):
    group_regex(name, "consumer")


if sys.argv[1:2] == ["--member"]:
    member_to_kill(*sys.argv[2:])
check.main()
