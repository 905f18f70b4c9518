import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApplicationRecoverableException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Java's clients of a world: Chaos BOOTSTRAP WORLD PARTITIONS RECORDS_A_SECOND. Prints events as package
 * chaos reads them. A line on standard input ends the producer, the end of standard input everything.
 */
public final class Chaos {
    private static final int FILLER_CHARS = 200;
    private static final Duration END_TIMEOUT = Duration.ofMinutes(2);
    private static final String TRANSACTION = "transaction";

    private final String bootstrap;
    private final String world;
    private final int partitions;
    private final int perSecond;
    private volatile boolean producing = true;
    private volatile boolean working = true;

    private Chaos(String[] args) {
        bootstrap = args[0];
        world = args[1];
        partitions = Integer.parseInt(args[2]);
        perSecond = Integer.parseInt(args[3]);
    }

    public static void main(String[] args) throws Exception {
        var chaos = new Chaos(args);
        var threads = new ArrayList<Thread>();
        threads.add(new Thread(chaos::produce));
        threads.add(new Thread(() -> chaos.read("reader-0", Long.MAX_VALUE)));
        threads.add(new Thread(() -> {
            for (int n = 1; chaos.working; n++) {
                chaos.read("reader-" + n, ThreadLocalRandom.current().nextLong(5_000, 20_000));
            }
        }));
        for (String name : List.of("transformer-0", "transformer-1")) {
            threads.add(new Thread(() -> {
                while (chaos.working) {
                    chaos.transform(name);
                }
            }));
        }
        threads.forEach(Thread::start);
        var commands = new BufferedReader(new InputStreamReader(System.in));
        while (commands.readLine() != null) {
            chaos.producing = false;
        }
        chaos.producing = false;
        chaos.working = false;
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void note(Object... fields) {
        var line = new StringBuilder().append(ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now()));
        for (Object field : fields) {
            line.append('\t').append(field);
        }
        line.append('\n');
        synchronized (System.out) {
            System.out.print(line);
            System.out.flush();
        }
    }

    /** Notes an error that a client gave its user. */
    private void met(String who, String doing, Throwable e) {
        String kind = "unexpected";
        boolean inTransaction = doing.equals(TRANSACTION);
        if (e instanceof RebalanceInProgressException || e instanceof CommitFailedException) {
            kind = "abortable"; // the group has rebalanced, and the records are read again
        } else if (e instanceof RetriableException) {
            kind = "retriable";
        } else if (inTransaction && isAbortable(e)) {
            kind = "abortable";
        }
        var name = new StringBuilder(doing).append(": ").append(e.getClass().getSimpleName());
        if (e.getCause() != null) {
            name.append(" by ").append(e.getCause().getClass().getSimpleName());
        }
        if (kind.equals("unexpected")) {
            name.append(" (").append(("" + e.getMessage()).replaceAll("\\s+", " ")).append(')');
            e.printStackTrace();
        }
        note(kind, who, name);
    }

    /** What KafkaProducer's documentation does not call fatal is an error of the transaction, which is to be aborted. */
    private static boolean isAbortable(Throwable e) {
        return e instanceof KafkaException
                && !(e instanceof ApplicationRecoverableException)
                && !(e instanceof OutOfOrderSequenceException)
                && !(e instanceof AuthorizationException)
                && !(e instanceof UnsupportedVersionException);
    }

    private KafkaProducer<String, String> producer(Map<String, Object> settings) {
        var all = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap));
        all.putAll(settings);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(String group, Map<String, Object> settings) {
        var all = new HashMap<String, Object>(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", world + "-" + group,
                "auto.offset.reset", "earliest",
                "isolation.level", "read_committed",
                "enable.auto.commit", false));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    private void produce() {
        String who = world + "/producer";
        long n = 0;
        try (var producer = producer(Map.of())) {
            long began = System.nanoTime();
            for (; producing; n++) {
                int partition = ThreadLocalRandom.current().nextInt(partitions);
                String filler = "x".repeat(ThreadLocalRandom.current().nextInt(FILLER_CHARS));
                long number = n;
                producer.send(new ProducerRecord<>(world + "-input", partition, null, who + " " + n + " " + filler), (metadata, e) -> {
                    if (e == null) {
                        note("acked", who, number, metadata.partition(), metadata.offset());
                    } else {
                        met(who, "produce", e);
                        note("failed", who, number);
                    }
                });
                long due = began + n * 1_000_000_000L / perSecond;
                sleep((due - System.nanoTime()) / 1_000_000);
            }
        } catch (RuntimeException e) {
            met(who, "produce", e);
        }
        note("sent", who, n);
    }

    private static void sleep(long ms) {
        if (ms <= 0) {
            return;
        }
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e); // nobody interrupts us
        }
    }

    /** A member of the readers' group, for so many milliseconds. The group has the consumer protocol. */
    private void read(String name, long stayMs) {
        String who = world + "/" + name;
        long began = System.nanoTime();
        try (var consumer = consumer("readers", Map.of("group.protocol", "consumer"))) {
            consumer.subscribe(List.of(world + "-input", world + "-output"), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                    assigned.forEach(p -> note("assigned", who, p.topic(), p.partition()));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                    revoked.forEach(p -> note("revoked", who, p.topic(), p.partition()));
                }
            });
            var behind = new HashMap<TopicPartition, OffsetAndMetadata>();
            while (working && (System.nanoTime() - began) / 1_000_000 < stayMs) {
                var records = consumer.poll(Duration.ofMillis(200));
                for (var r : records) {
                    note("got", who, r.topic(), r.partition(), r.offset(), r.value());
                    behind.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                behind.keySet().retainAll(consumer.assignment());
                // Not each time, so that a commit is of several fetches, and some records are read again by the next member.
                if (behind.isEmpty() || ThreadLocalRandom.current().nextInt(4) == 0) {
                    continue;
                }
                try {
                    consumer.commitSync(behind, END_TIMEOUT);
                    behind.forEach((p, offset) -> note("committed", who, p.topic(), p.partition(), offset.offset()));
                    behind.clear();
                } catch (KafkaException e) {
                    met(who, "commit", e);
                }
            }
        } catch (RuntimeException e) {
            met(who, "read", e);
        }
    }

    /** A client that copies the input to the output, until it can't go on. */
    private void transform(String name) {
        String who = world + "/" + name;
        try (var consumer = consumer("transformers", Map.of());
                var producer = producer(Map.of("transactional.id", world + "-" + name))) {
            try {
                producer.initTransactions();
            } catch (KafkaException e) {
                met(who, "begin with the transactional ID", e);
                return;
            }
            consumer.subscribe(List.of(world + "-input"));
            while (working) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                boolean commit = ThreadLocalRandom.current().nextInt(10) > 0;
                try {
                    producer.beginTransaction();
                    var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
                    for (ConsumerRecord<String, String> r : records) {
                        producer.send(new ProducerRecord<>(world + "-output", r.partition(), null, r.value()));
                        offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    }
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    if (commit) {
                        producer.commitTransaction();
                        note("ended", who, "commit");
                        continue;
                    }
                } catch (KafkaException e) {
                    met(who, TRANSACTION, e);
                    if (e instanceof RetriableException || !isAbortable(e)) {
                        return; // the commit may have come through: the next client begins at what the group has committed
                    }
                }
                try {
                    producer.abortTransaction();
                } catch (KafkaException e) {
                    met(who, "abort", e);
                    return;
                }
                note("ended", who, "abort");
                rewind(consumer);
            }
        } catch (RuntimeException e) {
            met(who, "transform", e);
        }
    }

    /** Goes back to what the group has committed. */
    private static void rewind(KafkaConsumer<String, String> consumer) {
        var committed = consumer.committed(consumer.assignment(), END_TIMEOUT);
        for (TopicPartition p : consumer.assignment()) {
            var offset = committed.get(p);
            consumer.seek(p, offset == null ? 0 : offset.offset());
        }
    }
}
