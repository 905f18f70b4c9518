import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A group member that polls and commits in a thread of its own until it is closed. */
final class Member implements ConsumerRebalanceListener, AutoCloseable {
    final List<String> values = new CopyOnWriteArrayList<>();
    final List<Integer> revocations = new CopyOnWriteArrayList<>(); // how many partitions each took
    private final KafkaConsumer<String, String> consumer;
    private final Thread thread = new Thread(this::poll);
    private volatile Set<TopicPartition> assignment = Set.of();
    private volatile boolean closing;
    private volatile Throwable failure;

    Member(String group, List<String> topics, Map<String, Object> settings) {
        this(group, settings);
        consumer.subscribe(topics, this);
        thread.start();
    }

    /** A member that subscribes as it likes: the function gets the consumer and the listener to use. */
    Member(String group, Map<String, Object> settings, BiConsumer<KafkaConsumer<String, String>, ConsumerRebalanceListener> subscribe) {
        this(group, settings);
        subscribe.accept(consumer, this);
        thread.start();
    }

    private Member(String group, Map<String, Object> settings) {
        consumer = consumer(group, settings);
        thread.setDaemon(true);
    }

    /** A consumer with the settings of all our members. */
    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", Check.BOOTSTRAP,
                "group.id", group,
                "auto.offset.reset", "earliest",
                "enable.auto.commit", false,
                "metadata.max.age.ms", 1000));
        if (!"consumer".equals(settings.get("group.protocol"))) { // with which the broker decides
            all.put("session.timeout.ms", 6000);
            all.put("heartbeat.interval.ms", 500);
        }
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    private void poll() {
        try (consumer) {
            while (!closing) {
                var records = consumer.poll(Duration.ofMillis(100));
                assignment = consumer.assignment();
                records.forEach(r -> values.add(r.value()));
                if (!records.isEmpty()) {
                    consumer.commitAsync();
                }
            }
        } catch (Throwable e) {
            failure = e;
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        if (!partitions.isEmpty()) {
            revocations.add(partitions.size());
        }
    }

    /** The partitions that it owns, as of its last poll. */
    Set<Integer> owned() {
        check();
        return assignment.stream().map(TopicPartition::partition).collect(Collectors.toSet());
    }

    Set<String> topics() {
        check();
        return assignment.stream().map(TopicPartition::topic).collect(Collectors.toSet());
    }

    private void check() {
        if (failure != null) {
            throw new AssertionError("the member failed: " + failure, failure);
        }
    }

    /** Whether the members own all partitions, each has some and none is owned twice. */
    static boolean sharedOut(List<Member> members, int partitions) {
        var owned = members.stream().flatMap(m -> m.owned().stream()).toList();
        return members.stream().noneMatch(m -> m.owned().isEmpty())
                && owned.size() == partitions
                && Set.copyOf(owned).size() == partitions;
    }

    @Override
    public void close() throws InterruptedException {
        closing = true;
        thread.join(30_000);
        check();
    }
}
