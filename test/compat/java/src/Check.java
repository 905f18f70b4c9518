import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

/**
 * What the programs of the Java clients share.
 *
 * <p>A program defines its features and calls run. It is started with the names of the features to
 * run, all without any, or with --list, and prints a line for each as soon as it is known: "ok NAME",
 * "differs NAME: how" where Wadi answers otherwise than Kafka and is meant to, or "FAIL NAME: reason".
 */
final class Check {
    static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");

    /** Whether the cluster is a Wadi, not a Kafka, which the checks are checked against. */
    static final boolean WADI = !"kafka".equals(System.getenv("COMPAT_TARGET"));

    /** Keeps the topics and groups of one run apart from those of others on the same cluster. */
    private static final String RUN =
            Objects.requireNonNullElse(System.getenv("COMPAT_RUN"), "" + ProcessHandle.current().pid());

    /** The body of a feature: throws when it does not work. It may use name for topics and groups. */
    interface Body {
        void run(String name) throws Exception;
    }

    private final Map<String, Body> features = new LinkedHashMap<>();
    private final String client;
    private static String difference;

    Check(String client) {
        this.client = client;
    }

    void feature(String name, Body body) {
        features.put(name, body);
    }

    void run(String... names) {
        if (names.length == 1 && names[0].equals("--list")) {
            features.keySet().forEach(System.out::println);
            return;
        }
        for (String name : names.length == 0 ? features.keySet() : List.of(names)) {
            difference = null;
            try {
                features.get(name).run(client + "-" + name.replaceAll("[^a-zA-Z0-9-]", "-") + "-" + RUN);
                System.out.println(difference == null ? "ok " + name : "differs " + name + ": " + difference);
            } catch (Throwable e) {
                e.printStackTrace();
                System.out.println("FAIL " + name + ": " + e.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(0); // a failed feature may have left threads behind
    }

    /** Says how Wadi differs in the feature that runs now. */
    static void differs(String how) {
        difference = how;
    }

    static void equal(Object want, Object got, String what) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(what + ": " + got + ", want " + want);
        }
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Waits until the condition holds. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(what + ": not within 60 s");
            }
            Thread.sleep(50);
        }
    }
}
