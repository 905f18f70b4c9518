import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * Transactions of Kafka's producer for Java, with both versions of transactions: clients use
 * version 2 (KIP-890) where the cluster says so. This program changes what the cluster says, so
 * nothing else may use transactions while it runs.
 */
public final class Transactions {
    private static final int PARTITIONS = 2;
    private static final Admin ADMIN = Admin.create(Map.of("bootstrap.servers", Check.BOOTSTRAP));
    private static final short LATEST = 2;

    public static void main(String[] args) {
        Check check = new Check("transactions");
        for (short version : new short[] {2, 1}) {
            String prefix = "version " + version + ": ";
            check.feature(prefix + "commit and abort, read_committed and read_uncommitted", name -> with(version, () -> {
                commitAndAbort(name);
                int ended = 7; // each of which raises the epoch with version 2
                Check.equal(version == 2 ? ended : 0, epoch(name), "epoch after " + ended + " transactions");
            }));
            check.feature(prefix + "offsets of a group, sendOffsetsToTransaction", name -> with(version, () -> {
                offsets(name, "classic");
                offsets(name + "-consumer", "consumer");
            }));
            check.feature(prefix + "a second producer with the ID fences the first, and so does fenceProducers",
                    name -> with(version, () -> fencing(name)));
            String late = version == 2 ? "the producer may go on after it aborted, too" : "the producer is fenced";
            check.feature(prefix + "a transaction left open is aborted after its timeout; " + late,
                    name -> with(version, () -> timeout(name, version == 2 ? Transactions::goOn : Transactions::isFenced)));
        }
        check.run(args);
    }

    private interface Body {
        void run() throws Exception;
    }

    /** Runs the body while clients use the version of transactions. */
    private static void with(short version, Body body) throws Exception {
        if (version == LATEST) {
            body.run();
            return;
        }
        setVersion(version);
        try {
            body.run();
        } finally {
            setVersion(LATEST);
        }
    }

    private static void setVersion(short version) throws Exception {
        var type = version == LATEST ? FeatureUpdate.UpgradeType.UPGRADE : FeatureUpdate.UpgradeType.SAFE_DOWNGRADE;
        ADMIN.updateFeatures(Map.of("transaction.version", new FeatureUpdate(version, type)), new UpdateFeaturesOptions())
                .all()
                .get();
        // Brokers hear of it a moment later.
        Check.eventually("transaction.version is " + version, () -> {
            var features = ADMIN.describeFeatures().featureMetadata().get().finalizedFeatures();
            return features.get("transaction.version").maxVersionLevel() == version;
        });
    }

    private static int epoch(String id) throws Exception {
        return ADMIN.describeTransactions(List.of(id)).description(id).get().producerEpoch();
    }

    private static KafkaProducer<String, String> producer(String id, Map<String, Object> settings) {
        var all = new HashMap<>(settings);
        all.put("transactional.id", id);
        var producer = JavaClient.producer(all);
        producer.initTransactions();
        return producer;
    }

    /** Sends the value to each partition of the topic, and waits until all are written. */
    private static void send(KafkaProducer<String, String> producer, String topic, String value) {
        for (int p = 0; p < PARTITIONS; p++) {
            producer.send(new ProducerRecord<>(topic, p, null, value));
        }
        producer.flush();
    }

    private static List<TopicPartition> partitions(String topic) {
        return IntStream.range(0, PARTITIONS).mapToObj(p -> new TopicPartition(topic, p)).toList();
    }

    /** The values of each partition, of which there must be count, and how far a reader gets. */
    private static List<String> read(String topic, String isolation, int count) {
        try (var consumer = Member.consumer(topic + "-reader", Map.of("isolation.level", isolation))) {
            consumer.assign(partitions(topic));
            var values = JavaClient.read(consumer, PARTITIONS * count).stream().map(ConsumerRecord::value).toList();
            Check.equal(values.subList(0, count), values.subList(count, 2 * count), "values of the second partition");
            Check.that(consumer.poll(Duration.ofMillis(500)).isEmpty(), isolation + ": more records than " + values);
            // The position passes markers and what was aborted.
            Check.equal(consumer.endOffsets(partitions(topic)).get(partitions(topic).get(1)),
                    consumer.position(partitions(topic).get(1)), isolation + ": position");
            return values.subList(0, count);
        }
    }

    static void commitAndAbort(String name) throws Exception {
        JavaClient.createTopic(name, PARTITIONS);
        try (var producer = producer(name, Map.of())) {
            for (int n = 0; n < 6; n++) {
                producer.beginTransaction();
                send(producer, name, "transaction " + n);
                if (n % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
            producer.beginTransaction();
            send(producer, name, "open");
            var committed = List.of("transaction 0", "transaction 2", "transaction 4");
            Check.equal(committed, read(name, "read_committed", 3), "committed, with a transaction open");
            Check.equal(7, Set.copyOf(read(name, "read_uncommitted", 7)).size(), "different values, uncommitted ones too");
            var description = ADMIN.describeTransactions(List.of(name)).description(name).get();
            Check.equal(TransactionState.ONGOING, description.state(), "state");
            Check.equal(Set.copyOf(partitions(name)), description.topicPartitions(), "partitions of the transaction");
        }
        // The producer aborted what was open when it was closed.
        Check.equal(List.of("transaction 0", "transaction 2", "transaction 4"), read(name, "read_committed", 3), "committed");
    }

    static void offsets(String name, String protocol) throws Exception {
        JavaClient.createTopic(name, 1);
        JavaClient.createTopic(name + "-out", PARTITIONS);
        JavaClient.produce(name, 1, IntStream.range(0, 20).mapToObj(Integer::toString).toList(), Map.of());
        var partition = new TopicPartition(name, 0);
        Map<String, Object> settings = Map.of("group.protocol", protocol, "isolation.level", "read_committed");
        try (var consumer = Member.consumer(name, settings); var producer = producer(name, Map.of())) {
            consumer.subscribe(List.of(name));
            JavaClient.read(consumer, 20);
            producer.beginTransaction();
            send(producer, name + "-out", "up to 10");
            producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(10, "ten")), consumer.groupMetadata());
            producer.commitTransaction();
            Check.equal(10L, consumer.committed(Set.of(partition)).get(partition).offset(), "offset committed");
            Check.equal("ten", consumer.committed(Set.of(partition)).get(partition).metadata(), "metadata committed");

            producer.beginTransaction();
            send(producer, name + "-out", "up to 15");
            producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(15)), consumer.groupMetadata());
            producer.abortTransaction();
            Check.equal(10L, consumer.committed(Set.of(partition)).get(partition).offset(), "offset after the abort");

            producer.beginTransaction();
            send(producer, name + "-out", "up to 18");
            producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(18)), consumer.groupMetadata());
            // As long as the transaction is open, whoever wants a stable offset waits.
            try {
                var unstable = consumer.committed(Set.of(partition), Duration.ofSeconds(1));
                throw new AssertionError("the offset of an open transaction is told: " + unstable);
            } catch (TimeoutException e) {
                // due
            }
            var any = ADMIN.listConsumerGroupOffsets(name, new ListConsumerGroupOffsetsOptions().requireStable(false));
            Check.equal(10L, any.partitionsToOffsetAndMetadata().get().get(partition).offset(), "offset while one is pending");
            producer.commitTransaction();
            Check.equal(18L, consumer.committed(Set.of(partition)).get(partition).offset(), "second offset committed");

            producer.beginTransaction();
            send(producer, name + "-out", "of a member that is gone");
            try {
                var gone = new ConsumerGroupMetadata(name, 1000, consumer.groupMetadata().memberId(), Optional.empty());
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(20)), gone);
                throw new AssertionError("an offset of another generation is accepted");
            } catch (CommitFailedException e) {
                producer.abortTransaction();
            }
        }
        try (var consumer = Member.consumer(name, settings)) {
            consumer.subscribe(List.of(name));
            Check.equal(18L, JavaClient.read(consumer, 2).get(0).offset(), "first offset after the restart");
        }
        Check.equal(List.of("up to 10", "up to 18"), read(name + "-out", "read_committed", 2), "values");
    }

    static void fencing(String name) throws Exception {
        JavaClient.createTopic(name, PARTITIONS);
        try (var first = producer(name, Map.of())) {
            first.beginTransaction();
            send(first, name, "by the first");
            try (var second = producer(name, Map.of())) {
                fenced("commit by the first", first::commitTransaction);
                fenced("another transaction of the first", first::beginTransaction);
                second.beginTransaction();
                send(second, name, "by the second");
                second.commitTransaction();
                Check.equal(List.of("by the second"), read(name, "read_committed", 1), "values");

                second.beginTransaction();
                send(second, name, "by the second, in vain");
                ADMIN.fenceProducers(List.of(name)).all().get();
                fenced("commit by the second", second::commitTransaction);
            }
        }
        Check.equal(List.of("by the second"), read(name, "read_committed", 1), "values in the end");
    }

    private static void fenced(String what, Runnable call) {
        try {
            call.run();
        } catch (ProducerFencedException e) {
            return;
        }
        throw new AssertionError(what + " is accepted");
    }

    /** What a producer may do whose transaction has been aborted after its timeout. */
    private interface Late {
        void run(KafkaProducer<String, String> producer, String topic) throws Exception;
    }

    private static void timeout(String name, Late late) throws Exception {
        JavaClient.createTopic(name, PARTITIONS);
        try (var slow = producer(name, Map.of("transaction.timeout.ms", 1000))) {
            slow.beginTransaction();
            send(slow, name, "too late");
            Check.eventually("the transaction is aborted", () ->
                    ADMIN.describeTransactions(List.of(name)).description(name).get().state() == TransactionState.COMPLETE_ABORT);
            late.run(slow, name);
        }
        try (var next = producer(name, Map.of())) {
            next.beginTransaction();
            send(next, name, "in time");
            next.commitTransaction();
        }
        Check.equal(List.of("in time"), read(name, "read_committed", 1), "values");
        try (var patient = producer(name + "-patient", Map.of("transaction.timeout.ms", Integer.MAX_VALUE))) {
            throw new AssertionError("a timeout of 24 days is accepted");
        } catch (KafkaException e) {
            Check.that(e.getMessage().contains("larger than the maximum value allowed by the broker"), "refused with " + e);
        }
    }

    private static void isFenced(KafkaProducer<String, String> producer, String topic) {
        fenced("commit after the timeout", producer::commitTransaction);
    }

    private static void goOn(KafkaProducer<String, String> producer, String topic) {
        producer.abortTransaction();
        producer.beginTransaction();
        send(producer, topic, "in vain");
        producer.abortTransaction();
    }
}
