"""librdkafka's clients of a world, by confluent-kafka: chaos.py BOOTSTRAP WORLD PARTITIONS RECORDS_A_SECOND.

Prints events as package chaos reads them. A line on standard input ends the producer, the
end of standard input everything.
"""

import faulthandler
import os
import random
import sys
import threading
import time
import traceback

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

BOOTSTRAP, WORLD, PARTITIONS, PER_SECOND = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
INPUT, OUTPUT = f"{WORLD}-input", f"{WORLD}-output"
FILLER_CHARS = 200
END_TIMEOUT = 120  # seconds, for the end of a transaction or what comes before it
# librdkafka may never return from send_offsets_to_transaction when the connection to the group's coordinator ended at the wrong
# moment (its issues 5456 and 5511). Whoever is in there for so many seconds is given up, and another one takes its place: before
# the transaction times out after 60 s, or whoever returns late is told of that.
HUNG_AFTER = 45

producing, working = threading.Event(), threading.Event()
printing = threading.Lock()

# librdkafka marks errors as retriable only for transactions. Elsewhere these are: its own, of connections
# that it makes anew, and those that Kafka's protocol calls retriable.
RETRIABLE = {
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._WAIT_COORD,
    KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT, KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR,
    KafkaError.KAFKA_STORAGE_ERROR, KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError.CONCURRENT_TRANSACTIONS,
}
# What takes back a commit of offsets: the group has rebalanced, and the records are read again.
REBALANCED = {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH}


def note(*fields):
    line = "\t".join(str(field) for field in (time.time_ns() // 1000, *fields))
    with printing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def met(who, doing, error):
    """Notes an error that a client gave its user."""
    kind = "unexpected"
    if error.fatal():
        pass
    elif error.txn_requires_abort() or error.code() in REBALANCED:
        kind = "abortable"
    elif error.retriable() or error.code() in RETRIABLE:
        kind = "retriable"
    name = f"{doing}: {error.name()}"
    if kind == "unexpected":
        name += f" ({' '.join(error.str().split())})"
        traceback.print_stack()
    note(kind, who, name)


def client_settings(who):
    # What comes to the error callback is told for information: librdkafka recovers by itself.
    return {
        "bootstrap.servers": BOOTSTRAP,
        "client.id": who.replace("/", "-"),
        "error_cb": lambda e: met(who, "fatal", e) if e.fatal() else note("told", who, e.name()),
    }


def consumer_settings(who, group):
    return client_settings(who) | {
        "group.id": f"{WORLD}-{group}",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }


def produce():
    who = f"{WORLD}/producer"
    producer = Producer(client_settings(who) | {"enable.idempotence": True})

    def delivered(number):
        def note_it(error, message):
            if error:
                met(who, "produce", error)
                note("failed", who, number)
            else:
                note("acked", who, number, message.partition(), message.offset())

        return note_it

    n, began = 0, time.monotonic()
    while producing.is_set():
        value = f"{who} {n} {'x' * random.randrange(FILLER_CHARS)}"
        producer.produce(INPUT, value.encode(), partition=random.randrange(PARTITIONS), on_delivery=delivered(n))
        n += 1
        producer.poll(max(0, began + n / PER_SECOND - time.monotonic()))
    producer.flush(10 * END_TIMEOUT)
    note("sent", who, n)


def read(name, stay):
    """A member of the readers' group, for so many seconds. The group has the consumer protocol."""
    who = f"{WORLD}/{name}"

    def tell(kind):
        return lambda _, partitions: [note(kind, who, p.topic, p.partition) for p in partitions]

    consumer = Consumer(consumer_settings(who, "readers") | {"group.protocol": "consumer"})
    consumer.subscribe([INPUT, OUTPUT], on_assign=tell("assigned"), on_revoke=tell("revoked"), on_lost=tell("revoked"))
    behind, until = {}, time.monotonic() + stay
    while working.is_set() and time.monotonic() < until:
        # One by one, since a poll may tell of partitions that come or go.
        for wait in [0.2] + [0] * 99:
            message = consumer.poll(wait)
            if message is None:
                break
            if message.error():
                met(who, "read", message.error())
                continue
            note("got", who, message.topic(), message.partition(), message.offset(), message.value().decode())
            behind[message.topic(), message.partition()] = message.offset() + 1
        owned = {(p.topic, p.partition) for p in consumer.assignment()}
        behind = {p: offset for p, offset in behind.items() if p in owned}
        # Not each time, so that a commit is of several fetches, and some records are read again by the next member.
        if behind and random.randrange(4) > 0:
            try:
                committed = consumer.commit(offsets=[TopicPartition(t, p, offset) for (t, p), offset in behind.items()], asynchronous=False)
            except KafkaException as e:
                met(who, "commit", e.args[0])
                continue
            for p in committed:
                if p.error:
                    met(who, "commit", p.error)
                else:
                    note("committed", who, p.topic, p.partition, p.offset)
            behind = {}
    consumer.close()


class Transformer(threading.Thread):
    """Copies the input to the output with one client after the other, all of one transactional ID."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.client = name
        # When it began to send offsets, while it does, and whether it was given up since.
        self.sending = None
        self.given_up = False

    def run(self):
        while working.is_set() and not self.given_up:
            guarded(transform, self.client, self)

    def hangs(self):
        since = self.sending
        return since is not None and time.monotonic() - since > HUNG_AFTER


def keep_transforming(name):
    transformer = None
    while working.is_set():
        if transformer is None or transformer.hangs():
            if transformer:
                transformer.given_up = True
                note("told", f"{WORLD}/{name}", "send_offsets_to_transaction does not return")
            transformer = Transformer(name)
            transformer.start()
        time.sleep(1)
    while transformer.is_alive() and not transformer.hangs():
        transformer.join(1)


def transform(name, thread):
    """A client that copies the input to the output, until it can't go on."""
    who = f"{WORLD}/{name}"
    # Who hangs doesn't poll, and is to lose its partitions for it.
    consumer = Consumer(consumer_settings(who, "transformers") | {"max.poll.interval.ms": 120_000})
    consumer.subscribe([INPUT])
    producer = Producer(client_settings(who) | {"transactional.id": who.replace("/", "-")})
    try:
        producer.init_transactions(END_TIMEOUT)
        while working.is_set():
            records = [m for m in consumer.consume(50, 0.2) if not m.error() or met(who, "read", m.error())]
            if records and not transaction(who, consumer, producer, records, thread):
                return
    except KafkaException as e:
        # The commit may have come through: the next client begins at what the group has committed.
        if not thread.given_up:  # or its successor has fenced it
            met(who, "transaction", e.args[0])
    finally:
        consumer.close()


def transaction(who, consumer, producer, records, thread):
    """Makes a transaction of the records, and tells whether the client can go on."""
    commit = random.randrange(10) > 0
    try:
        producer.begin_transaction()
        behind = {}
        for r in records:
            producer.produce(OUTPUT, r.value(), partition=r.partition())
            producer.poll(0)
            behind[r.partition()] = r.offset() + 1
        thread.sending = time.monotonic()
        producer.send_offsets_to_transaction(
            [TopicPartition(INPUT, p, offset) for p, offset in behind.items()], consumer.consumer_group_metadata(), END_TIMEOUT)
        thread.sending = None
        if commit:
            producer.commit_transaction(END_TIMEOUT)
            note("ended", who, "commit")
            return True
    except KafkaException as e:
        thread.sending = None
        if thread.given_up or not e.args[0].txn_requires_abort():
            raise
        met(who, "transaction", e.args[0])
    producer.abort_transaction(END_TIMEOUT)
    note("ended", who, "abort")
    # Back to what the group has committed.
    committed = consumer.committed(consumer.assignment(), timeout=END_TIMEOUT)
    consumer.assign([TopicPartition(p.topic, p.partition, max(p.offset, 0)) for p in committed])
    return True


def second_reader():
    n = 1
    while working.is_set():
        read(f"reader-{n}", random.uniform(5, 20))
        n += 1


def guarded(function, *arguments):
    """Runs a thread; what it does not expect is an event too."""
    try:
        function(*arguments)
    except Exception as e:
        traceback.print_exc()
        note("unexpected", f"{WORLD}/program", f"{type(e).__name__}: {' '.join(str(e).split())}")


producing.set()
working.set()
threads = [
    threading.Thread(target=guarded, args=arguments)
    for arguments in [
        (produce,), (read, "reader-0", float("inf")), (second_reader,),
        (keep_transforming, "transformer-0"), (keep_transforming, "transformer-1"),
    ]
]
for thread in threads:
    thread.start()
for _ in sys.stdin:
    producing.clear()
producing.clear()
working.clear()
for thread in threads:
    thread.join(END_TIMEOUT)
late = any(thread.is_alive() for thread in threads)
if late:
    faulthandler.dump_traceback()
os._exit(1 if late else 0)  # not exit, which would wait for clients that hang
