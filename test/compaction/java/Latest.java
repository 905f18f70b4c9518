import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reads all that is committed in a topic, as a service does that keeps a table of it, and prints a line for
 * each record: partition, offset, key, value, with tabs between. The last line is "end" and the
 * positions at which it ended. Started with the bootstrap servers and the topic.
 */
final class Latest {
    public static void main(String[] args) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("isolation.level", "read_committed");
        properties.put("max.poll.records", "10000");
        properties.put("key.deserializer", StringDeserializer.class.getName());
        properties.put("value.deserializer", StringDeserializer.class.getName());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
                PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8)) {
            List<TopicPartition> partitions =
                    consumer.partitionsFor(args[1]).stream().map(p -> new TopicPartition(p.topic(), p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            Map<TopicPartition, Long> positions = new HashMap<>();
            StringBuilder lines = new StringBuilder();
            while (partitions.stream().anyMatch(p -> positions.getOrDefault(p, 0L) < ends.get(p))) {
                lines.setLength(0);
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofSeconds(1))) {
                    lines.append(r.partition()).append('\t').append(r.offset()).append('\t').append(r.key()).append('\t').append(r.value()).append('\n');
                }
                out.print(lines);
                // Also past offsets of which nothing is left.
                partitions.forEach(p -> positions.put(p, consumer.position(p)));
            }
            out.println("end\t" + positions.values().stream().mapToLong(Long::longValue).sum());
        }
    }
}
