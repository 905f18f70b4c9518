import static java.util.stream.Collectors.toSet;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's own client for Java: its producer, and its consumer with both group protocols. */
public final class JavaClient {
    private static final int PARTITIONS = 6;
    private static final List<String> AFTER = // a record for each partition
            List.of("after 0", "after 1", "after 2", "after 3", "after 4", "after 5");
    private static final Map<String, Object> CLASSIC = Map.of("group.protocol", "classic");
    private static final Map<String, Object> CONSUMER = Map.of("group.protocol", "consumer");
    private static final Map<String, Object> COOPERATIVE = Map.of(
            "group.protocol", "classic",
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    public static void main(String[] args) throws Exception {
        if (args.length > 0 && args[0].equals("--member")) {
            memberToKill(args[1], args[2]);
        }
        Check check = new Check("java");
        check.feature("produce-consume", JavaClient::produceConsume);
        check.feature("codecs", JavaClient::codecs);
        check.feature("idempotence", JavaClient::idempotence);
        check.feature("pause-seek", JavaClient::pauseSeek);
        check.feature("transactions", Transactions::commitAndAbort);
        check.feature("transactions-offsets", name -> Transactions.offsets(name, "classic"));
        check.feature("transactions-fencing", Transactions::fencing);
        check.feature("group-rebalance", name -> rebalance(name, CLASSIC));
        check.feature("group-crash", name -> crash(name, CLASSIC));
        check.feature("group-commit", name -> commit(name, CLASSIC));
        check.feature("group-static", name -> staticMember(name, CLASSIC));
        check.feature("group-cooperative", name -> cooperative(name, COOPERATIVE));
        check.feature("group-regex", name -> regex(name, new Member(name, CLASSIC,
                (consumer, listener) -> consumer.subscribe(Pattern.compile(name + "-[0-9]"), listener))));
        check.feature("consumer-rebalance", name -> cooperative(name, CONSUMER));
        check.feature("consumer-crash", name -> crash(name, CONSUMER));
        check.feature("consumer-commit", name -> commit(name, CONSUMER));
        check.feature("consumer-static", name -> staticMember(name, CONSUMER));
        check.feature("consumer-regex", name -> regex(name, new Member(name, CONSUMER,
                (consumer, listener) -> consumer.subscribe(new SubscriptionPattern(name + "-[0-9]"), listener))));
        check.feature("migration", JavaClient::migration);
        check.run(args);
    }

    static void createTopic(String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", Check.BOOTSTRAP))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) -1))).all().get();
            // Brokers hear of a new topic a moment later.
            Check.eventually("the topic is known", () -> admin.listTopics().names().get().contains(name));
        }
    }

    static KafkaProducer<String, String> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", Check.BOOTSTRAP);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    /** Produces the values round the partitions. */
    static void produce(String topic, int partitions, Collection<String> values, Map<String, Object> settings)
            throws Exception {
        try (var producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, sent.size() % partitions, null, value)));
            }
            for (var future : sent) {
                future.get();
            }
        }
    }

    /** Reads count records, in the order of their partitions and offsets. */
    static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (records.size() < count && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        Check.equal(count, records.size(), "records read");
        records.sort(Comparator.comparing(ConsumerRecord<String, String>::partition).thenComparing(ConsumerRecord::offset));
        return records;
    }

    private static Set<String> readAll(String topic, int partitions, int count) {
        try (var consumer = Member.consumer(topic, CLASSIC)) {
            consumer.assign(IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).toList());
            return read(consumer, count).stream().map(ConsumerRecord::value).collect(toSet());
        }
    }

    private static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(Integer::toString).toList();
    }

    private static void produceConsume(String name) throws Exception {
        createTopic(name, 1);
        var anHourAgo = System.currentTimeMillis() - 3_600_000;
        try (var producer = producer(Map.of())) {
            var header = new RecordHeader("h", new byte[] {1});
            producer.send(new ProducerRecord<>(name, 0, anHourAgo, "key", "value", List.of(header))).get();
            producer.send(new ProducerRecord<>(name, 0, "tombstone", null)).get();
        }
        try (var consumer = Member.consumer(name, CLASSIC)) {
            consumer.assign(List.of(new TopicPartition(name, 0)));
            var records = read(consumer, 2);
            var record = records.get(0);
            Check.equal("key=value@0", record.key() + "=" + record.value() + "@" + record.offset(), "first record");
            Check.equal(anHourAgo, record.timestamp(), "timestamp");
            Check.equal(1, (int) record.headers().lastHeader("h").value()[0], "header");
            Check.equal("tombstone", records.get(1).key(), "key of the second record");
            Check.equal(null, records.get(1).value(), "value of the second record");
        }
    }

    private static void codecs(String name) throws Exception {
        createTopic(name, PARTITIONS);
        Set<String> values = new HashSet<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var batch = numbers(100).stream().map(n -> codec + n + "x".repeat(1000)).toList();
            produce(name, PARTITIONS, batch, Map.of("compression.type", codec));
            values.addAll(batch);
        }
        Check.equal(values, readAll(name, PARTITIONS, values.size()), "values");
    }

    private static void idempotence(String name) throws Exception {
        createTopic(name, PARTITIONS);
        produce(name, PARTITIONS, numbers(2000), Map.of("enable.idempotence", true, "batch.size", 100));
        Check.equal(Set.copyOf(numbers(2000)), readAll(name, PARTITIONS, 2000), "values");
    }

    private static void pauseSeek(String name) throws Exception {
        createTopic(name, 1);
        produce(name, 1, numbers(20), Map.of());
        var partition = new TopicPartition(name, 0);
        try (var consumer = Member.consumer(name, Map.of("max.poll.records", 1))) {
            consumer.subscribe(List.of(name));
            read(consumer, 20);
            consumer.seek(partition, 5);
            Check.equal(5L, read(consumer, 1).get(0).offset(), "offset after the seek");
            Check.equal(6L, consumer.position(partition), "position");
            consumer.pause(List.of(partition));
            Check.that(consumer.poll(Duration.ofSeconds(2)).isEmpty(), "polled records while paused");
            consumer.resume(List.of(partition));
            Check.equal(6L, read(consumer, 1).get(0).offset(), "offset after the pause");
            consumer.seekToEnd(List.of(partition));
            Check.equal(20L, consumer.position(partition), "position at the end");
            consumer.seekToBeginning(List.of(partition));
            Check.equal(0L, consumer.position(partition), "position at the beginning");
            Check.equal(0L, consumer.offsetsForTimes(Map.of(partition, 0L)).get(partition).offset(), "offset of time 0");
            Check.equal(Map.of(partition, 20L), consumer.endOffsets(List.of(partition)), "end offsets");
            Check.equal(Map.of(partition, 0L), consumer.beginningOffsets(List.of(partition)), "beginning offsets");
        }
    }

    /** Returns how many partitions each revocation took from the first member while it lived. */
    private static List<Integer> rebalance(String name, Map<String, Object> settings) throws Exception {
        createTopic(name, PARTITIONS);
        try (var first = new Member(name, List.of(name), settings)) {
            Check.eventually("the first member owns all", () -> first.owned().size() == PARTITIONS);
            try (var second = new Member(name, List.of(name), settings);
                    var third = new Member(name, List.of(name), settings)) {
                var members = List.of(first, second, third);
                Check.eventually("three members share", () -> Member.sharedOut(members, PARTITIONS));
                produce(name, PARTITIONS, numbers(60), Map.of());
                Check.eventually("they read everything", () -> members.stream()
                        .flatMap(m -> m.values.stream()).collect(toSet()).equals(Set.copyOf(numbers(60))));
            }
            Check.eventually("the first member owns all again", () -> first.owned().size() == PARTITIONS);
            produce(name, PARTITIONS, AFTER, Map.of());
            Check.eventually("it reads all partitions", () -> first.values.containsAll(AFTER));
            return List.copyOf(first.revocations);
        }
    }

    private static void cooperative(String name, Map<String, Object> settings) throws Exception {
        var revocations = rebalance(name, settings);
        Check.that(!revocations.contains(PARTITIONS), "a revocation took everything: " + revocations);
    }

    private static void crash(String name, Map<String, Object> settings) throws Exception {
        createTopic(name, PARTITIONS);
        try (var survivor = new Member(name, List.of(name), settings)) {
            Check.eventually("the survivor owns all", () -> survivor.owned().size() == PARTITIONS);
            Process victim = new ProcessBuilder(
                            ProcessHandle.current().info().command().orElseThrow(), "-cp",
                            System.getProperty("java.class.path"), "JavaClient", "--member", name,
                            settings.get("group.protocol").toString())
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            try (var output = new BufferedReader(new InputStreamReader(victim.getInputStream()))) {
                Check.equal("assigned", output.readLine(), "first line of the member to kill");
                Check.eventually("they share", () -> survivor.owned().size() < PARTITIONS);
            } finally {
                victim.destroyForcibly().waitFor();
            }
            produce(name, PARTITIONS, AFTER, Map.of());
            Check.eventually("the survivor owns all again", () -> survivor.owned().size() == PARTITIONS);
            Check.eventually("it reads all partitions", () -> survivor.values.containsAll(AFTER));
        }
    }

    private static void memberToKill(String group, String protocol) throws Exception {
        var member = new Member(group, List.of(group), Map.of("group.protocol", protocol));
        Check.eventually("it is assigned something", () -> !member.owned().isEmpty());
        System.out.println("assigned");
        Thread.sleep(Long.MAX_VALUE);
    }

    private static void commit(String name, Map<String, Object> settings) throws Exception {
        createTopic(name, 1);
        produce(name, 1, numbers(30), Map.of());
        var partition = new TopicPartition(name, 0);
        try (var consumer = Member.consumer(name, settings)) {
            consumer.subscribe(List.of(name));
            read(consumer, 30);
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(10, "ten")));
            var committed = consumer.committed(Set.of(partition)).get(partition);
            Check.equal("10 ten", committed.offset() + " " + committed.metadata(), "committed");
            var outcome = new AtomicReference<Object>();
            consumer.commitAsync(Map.of(partition, new OffsetAndMetadata(12)),
                    (offsets, e) -> outcome.set(e == null ? "done" : e));
            Check.eventually("the asynchronous commit", () -> {
                consumer.poll(Duration.ofMillis(50));
                return outcome.get() != null;
            });
            Check.equal("done", outcome.get(), "outcome of the asynchronous commit");
        }
        try (var consumer = Member.consumer(name, settings)) {
            consumer.subscribe(List.of(name));
            Check.equal(12L, read(consumer, 18).get(0).offset(), "first offset after the restart");
        }
    }

    private static void staticMember(String name, Map<String, Object> settings) throws Exception {
        createTopic(name, PARTITIONS);
        var others = new HashMap<>(settings);
        others.put("group.instance.id", "other");
        var its = new HashMap<>(settings);
        its.put("group.instance.id", "returning");
        try (var other = new Member(name, List.of(name), others)) {
            Set<Integer> before;
            int revocations;
            try (var returning = new Member(name, List.of(name), its)) {
                Check.eventually("they share", () -> Member.sharedOut(List.of(other, returning), PARTITIONS));
                before = returning.owned();
                revocations = other.revocations.size();
            }
            try (var returning = new Member(name, List.of(name), its)) {
                Check.eventually("it is back", () -> returning.owned().equals(before));
                Check.equal(revocations, other.revocations.size(), "revocations that the other member saw");
            }
        }
    }

    private static void regex(String name, Member member) throws Exception {
        try (member) {
            createTopic(name + "-1", 1);
            Check.eventually("the first topic", () -> member.topics().equals(Set.of(name + "-1")));
            createTopic(name + "-2", 1);
            Check.eventually("both topics", () -> member.topics().equals(Set.of(name + "-1", name + "-2")));
        }
    }

    /** Members move from the classic to the consumer protocol one after the other, and back. */
    private static void migration(String name) throws Exception {
        createTopic(name, PARTITIONS);
        var topics = List.of(name);
        var old = new Member(name, topics, COOPERATIVE);
        Check.eventually("the classic member owns all", () -> old.owned().size() == PARTITIONS);
        var upgraded = new Member(name, topics, CONSUMER);
        Check.eventually("both protocols share", () -> Member.sharedOut(List.of(old, upgraded), PARTITIONS));
        old.close();
        Check.eventually("the consumer member owns all", () -> upgraded.owned().size() == PARTITIONS);
        var downgraded = new Member(name, topics, COOPERATIVE);
        Check.eventually("both share again", () -> Member.sharedOut(List.of(upgraded, downgraded), PARTITIONS));
        upgraded.close();
        Check.eventually("the classic member owns all again", () -> downgraded.owned().size() == PARTITIONS);
        produce(name, PARTITIONS, numbers(60), Map.of());
        Check.eventually("it reads everything", () -> Set.copyOf(downgraded.values).equals(Set.copyOf(numbers(60))));
        downgraded.close();
    }
}
