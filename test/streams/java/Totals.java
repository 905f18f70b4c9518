import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * One instance of a Kafka Streams application that counts flights and adds up their delays, by
 * distance and exactly once: Totals BOOTSTRAP APPLICATION FOLDER. It runs until it is ended, or
 * ends with code 1 when Streams gives up.
 *
 * <p>It reads "NUMBER DISTANCE DELAY" from the topic APPLICATION-flights, and for each of them
 * writes "COUNT DELAYS NUMBER", with the distance as the key, to APPLICATION-totals. In between are
 * the topics that Streams makes: APPLICATION-by-distance-repartition and
 * APPLICATION-totals-changelog.
 */
public final class Totals {
    public static void main(String[] args) {
        String bootstrap = args[0];
        String application = args[1];
        String folder = args[2];
        var streams = new KafkaStreams(topology(application), settings(bootstrap, application, folder));
        streams.setStateListener((state, before) -> {
            System.err.println(application + " is " + state);
            if (state == KafkaStreams.State.ERROR) {
                Runtime.getRuntime().halt(1); // not exit, whose hook would wait for this thread
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
    }

    static Topology topology(String application) {
        var builder = new StreamsBuilder();
        builder.stream(application + "-flights", Consumed.with(Serdes.String(), Serdes.String()))
                .groupBy((none, flight) -> flight.split(" ")[1], Grouped.as("by-distance"))
                .aggregate(() -> "0 0", Totals::add, Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as("totals")
                        // The test reads every change, of which compaction would leave the last.
                        .withLoggingEnabled(Map.of("min.compaction.lag.ms", "86400000")))
                .toStream()
                .to(application + "-totals", Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    /** Adds a flight to the totals of its distance. */
    private static String add(String distance, String flight, String totals) {
        String[] fields = flight.split(" ");
        String[] before = totals.split(" ");
        long count = Long.parseLong(before[0]) + 1;
        long delays = Long.parseLong(before[1]) + Long.parseLong(fields[2]);
        return count + " " + delays + " " + fields[0];
    }

    private static Properties settings(String bootstrap, String application, String folder) {
        var settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        // Every update goes on, where a cache would only pass on the last one before a commit.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // Much of a transaction has been sent when an instance is killed, and is to be aborted.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 300);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 5);
        // Streams deletes what it has read of a repartition topic; the test reads all of it.
        settings.put("repartition.purge.interval.ms", Long.MAX_VALUE);
        // An instance that is killed shall be missed soon.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1000);
        return settings;
    }
}
