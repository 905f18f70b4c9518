import static java.util.stream.Collectors.toMap;
import static java.util.stream.Collectors.toSet;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** The calls of Apache Kafka's Admin client for Java. */
public final class AdminCalls {
    private static final Admin ADMIN = Admin.create(Map.of("bootstrap.servers", Check.BOOTSTRAP));

    public static void main(String[] args) {
        Check check = new Check("admin");
        check.feature("createTopics", AdminCalls::createTopics);
        check.feature("createPartitions", AdminCalls::createPartitions);
        check.feature("describeTopics, listTopics, deleteTopics", AdminCalls::topics);
        check.feature("describeCluster", AdminCalls::describeCluster);
        check.feature("listOffsets", AdminCalls::listOffsets);
        check.feature("deleteRecords", AdminCalls::deleteRecords);
        check.feature("describeProducers", AdminCalls::describeProducers);
        check.feature("describeLogDirs", AdminCalls::describeLogDirs);
        check.feature("describeConfigs, incrementalAlterConfigs: topics", AdminCalls::topicConfigs);
        check.feature("describeConfigs, incrementalAlterConfigs: brokers", AdminCalls::brokerConfigs);
        check.feature("describeConfigs, incrementalAlterConfigs: groups", AdminCalls::groupConfigs);
        check.feature("describeConfigs, incrementalAlterConfigs: client metrics", AdminCalls::clientMetrics);
        check.feature("describeConfigs: broker loggers", AdminCalls::brokerLoggers);
        check.feature("listConfigResources", AdminCalls::listConfigResources);
        check.feature("listGroups", AdminCalls::listGroups);
        check.feature("describeConsumerGroups: classic", name -> describeGroup(name, "classic"));
        check.feature("describeConsumerGroups: consumer", name -> describeGroup(name, "consumer"));
        check.feature("describeClassicGroups", AdminCalls::describeClassicGroups);
        check.feature("listConsumerGroupOffsets, alterConsumerGroupOffsets", AdminCalls::groupOffsets);
        check.feature("deleteConsumerGroupOffsets", AdminCalls::deleteGroupOffsets);
        check.feature("deleteConsumerGroups", AdminCalls::deleteGroups);
        check.feature("removeMembersFromConsumerGroup", AdminCalls::removeMembers);
        check.feature("describeFeatures, updateFeatures", AdminCalls::features);
        check.feature("listTransactions, describeTransactions, fenceProducers, abortTransaction", AdminCalls::transactions);
        check.feature("electLeaders", AdminCalls::electLeaders);
        check.feature("listPartitionReassignments, alterPartitionReassignments", AdminCalls::reassignments);
        check.feature("describeMetadataQuorum", AdminCalls::metadataQuorum);
        check.feature("describeAcls", AdminCalls::describeAcls);
        check.feature("describeClientQuotas", AdminCalls::describeClientQuotas);
        check.run(args);
    }

    private interface Call {
        Object get() throws Exception;
    }

    /** Wants the call to fail with an error of the class. */
    private static void refused(Class<? extends Exception> want, Call call) throws Exception {
        Object got;
        try {
            got = call.get();
        } catch (ExecutionException e) {
            Check.that(want.isInstance(e.getCause()), "refused with " + e.getCause() + ", want " + want.getSimpleName());
            return;
        }
        throw new AssertionError("accepted with " + got + ", want " + want.getSimpleName());
    }

    private static void produce(String topic, int count) throws Exception {
        JavaClient.produce(topic, 1, IntStream.range(0, count).mapToObj(Integer::toString).toList(), Map.of());
    }

    private static void createTopics(String name) throws Exception {
        var topic = new NewTopic(name, Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "3600000"));
        ADMIN.createTopics(List.of(topic), new CreateTopicsOptions().validateOnly(true)).all().get();
        Check.that(!ADMIN.listTopics().names().get().contains(name), "validateOnly created the topic");
        var created = ADMIN.createTopics(List.of(topic));
        Check.equal(2, created.numPartitions(name).get(), "partitions");
        Check.equal("3600000", created.config(name).get().get("retention.ms").value(), "retention.ms");
        Check.equal(22, created.topicId(name).get().toString().length(), "length of the topic ID");
        refused(TopicExistsException.class, () -> ADMIN.createTopics(List.of(topic)).all().get());
        refused(InvalidTopicException.class,
                () -> ADMIN.createTopics(List.of(new NewTopic("a/b", 1, (short) 1))).all().get());
        var unknown = new NewTopic(name + "-2", 1, (short) 1).configs(Map.of("no.such.config", "1"));
        refused(InvalidConfigurationException.class, () -> ADMIN.createTopics(List.of(unknown)).all().get());
    }

    private static void createPartitions(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        ADMIN.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get();
        Check.eventually("3 partitions", () -> ADMIN.describeTopics(List.of(name)).allTopicNames().get()
                .get(name).partitions().size() == 3);
        refused(Exception.class, () -> ADMIN.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all().get());
    }

    private static void topics(String name) throws Exception {
        JavaClient.createTopic(name, 2);
        var description = ADMIN.describeTopics(List.of(name)).allTopicNames().get().get(name);
        Check.that(description.partitions().stream().allMatch(p -> p.leader() != null && !p.isr().isEmpty()),
                "a partition has no leader or no in-sync replica");
        var byId = TopicCollection.ofTopicIds(List.of(description.topicId()));
        Check.equal(name, ADMIN.describeTopics(byId).allTopicIds().get().get(description.topicId()).name(), "name by ID");
        Check.that(ADMIN.listTopics().names().get().contains(name), "the topic is not listed");
        ADMIN.deleteTopics(byId).all().get();
        Check.eventually("the topic is gone", () -> !ADMIN.listTopics().names().get().contains(name));
        refused(UnknownTopicOrPartitionException.class, () -> ADMIN.deleteTopics(List.of(name)).all().get());
    }

    private static void describeCluster(String name) throws Exception {
        var cluster = ADMIN.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        Check.equal(22, cluster.clusterId().get().length(), "length of the cluster ID");
        Check.that(cluster.nodes().get().contains(cluster.controller().get()), "the controller is none of the nodes");
        Check.that(!cluster.authorizedOperations().get().isEmpty(), "no authorized operations");
    }

    private static long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return ADMIN.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
    }

    private static void listOffsets(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        produce(name, 10);
        var partition = new TopicPartition(name, 0);
        Check.equal(0L, offset(partition, OffsetSpec.earliest()), "earliest");
        Check.equal(10L, offset(partition, OffsetSpec.latest()), "latest");
        Check.equal(0L, offset(partition, OffsetSpec.forTimestamp(0)), "of time 0");
        Check.equal(0L, offset(partition, OffsetSpec.earliestLocal()), "earliest local");
        Check.that(offset(partition, OffsetSpec.maxTimestamp()) >= 0, "no offset of the highest timestamp");
        Check.equal(-1L, offset(partition, OffsetSpec.latestTiered()), "latest tiered");
    }

    private static void deleteRecords(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        produce(name, 10);
        var partition = new TopicPartition(name, 0);
        var deleted = ADMIN.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4)));
        Check.equal(4L, deleted.lowWatermarks().get(partition).get().lowWatermark(), "low watermark");
        Check.equal(4L, offset(partition, OffsetSpec.earliest()), "earliest");
        refused(OffsetOutOfRangeException.class,
                () -> ADMIN.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(11))).all().get());
        ADMIN.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).all().get(); // all of them
        Check.equal(10L, offset(partition, OffsetSpec.earliest()), "earliest");
    }

    private static void describeProducers(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        JavaClient.produce(name, 1, List.of("a", "b", "c"), Map.of("enable.idempotence", true));
        var partition = new TopicPartition(name, 0);
        var producers = ADMIN.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        Check.equal(1, producers.size(), "producers");
        Check.equal(2, producers.get(0).lastSequence(), "last sequence");
    }

    private static void transactions(String name) throws Exception {
        JavaClient.createTopic(name, 2);
        var first = new TopicPartition(name, 0);
        long before = System.currentTimeMillis();
        JavaClient.produce(name, 2, List.of("before"), Map.of());
        try (var producer = JavaClient.producer(Map.of("transactional.id", name, "transaction.timeout.ms", 60_000))) {
            producer.initTransactions();
            Check.equal(TransactionState.EMPTY, listed(name, new ListTransactionsOptions()).orElseThrow().state(), "state");
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(name, 0, null, "a"));
            producer.flush();

            var listing = listed(name, new ListTransactionsOptions()).orElseThrow();
            Check.equal(TransactionState.ONGOING, listing.state(), "state");
            var ongoing = new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))
                    .filterProducerIds(Set.of(listing.producerId()));
            Check.that(listed(name, ongoing).isPresent(), "not listed by its state and producer");
            Check.that(listed(name, new ListTransactionsOptions().filterStates(Set.of(TransactionState.EMPTY))).isEmpty(),
                    "listed as one that is empty");
            Check.that(listed(name, new ListTransactionsOptions().filterOnDuration(3_600_000)).isEmpty(),
                    "listed as one that is open for an hour");
            Check.that(listed(name, new ListTransactionsOptions().filterOnTransactionalIdPattern(".*-none")).isEmpty(),
                    "listed by a pattern that it does not match");

            var description = ADMIN.describeTransactions(List.of(name)).description(name).get();
            Check.equal(listing.producerId(), description.producerId(), "producer ID");
            Check.equal(TransactionState.ONGOING, description.state(), "state");
            Check.equal(60_000L, description.transactionTimeoutMs(), "timeout");
            Check.equal(Set.of(first), description.topicPartitions(), "partitions");
            long startedAt = description.transactionStartTimeMs().orElseThrow();
            Check.that(startedAt >= before - 60_000 && startedAt <= System.currentTimeMillis() + 60_000, "began at " + startedAt);
            refused(TransactionalIdNotFoundException.class,
                    () -> ADMIN.describeTransactions(List.of(name + "-none")).description(name + "-none").get());

            var active = ADMIN.describeProducers(List.of(first)).partitionResult(first).get().activeProducers().stream()
                    .filter(p -> p.producerId() == listing.producerId()).findAny().orElseThrow();
            Check.equal(OptionalLong.of(1), active.currentTransactionStartOffset(), "start of the transaction");
            Check.equal(description.producerEpoch(), active.producerEpoch(), "epoch");

            var abort = new AbortTransactionSpec(first, listing.producerId(), (short) active.producerEpoch(), 0);
            if (Check.WADI) {
                refused(UnsupportedVersionException.class, () -> ADMIN.abortTransaction(abort).all().get());
                Check.differs("abortTransaction is refused: a transaction ends in one change, so none can be left hanging");
            }
            ADMIN.fenceProducers(List.of(name)).all().get();
            Check.eventually("it was aborted", () -> {
                var state = listed(name, new ListTransactionsOptions()).orElseThrow().state();
                return state == TransactionState.EMPTY || state == TransactionState.COMPLETE_ABORT;
            });
            refusedToProducer(producer::commitTransaction);
        }
        var left = ADMIN.describeProducers(List.of(first)).partitionResult(first).get().activeProducers();
        Check.that(left.stream().allMatch(p -> p.currentTransactionStartOffset().isEmpty()), "still open: " + left);
    }

    private static Optional<TransactionListing> listed(String id, ListTransactionsOptions options) throws Exception {
        return ADMIN.listTransactions(options).all().get().stream().filter(t -> t.transactionalId().equals(id)).findAny();
    }

    private static void refusedToProducer(Runnable call) {
        try {
            call.run();
        } catch (ProducerFencedException | InvalidProducerEpochException e) {
            return;
        }
        throw new AssertionError("a fenced producer committed");
    }

    private static void describeLogDirs(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        produce(name, 10);
        var nodes = ADMIN.describeCluster().nodes().get().stream().map(n -> n.id()).toList();
        Check.eventually("the partition has a size", () -> ADMIN.describeLogDirs(nodes).allDescriptions().get()
                .values().stream().flatMap(dirs -> dirs.values().stream())
                .map(dir -> dir.replicaInfos().get(new TopicPartition(name, 0)))
                .anyMatch(replica -> replica != null && replica.size() > 0));
    }

    private static Config configs(ConfigResource resource) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return ADMIN.describeConfigs(List.of(resource), options).all().get().get(resource);
    }

    private static void alter(ConfigResource resource, String key, String value, AlterConfigOp.OpType type)
            throws Exception {
        var operation = new AlterConfigOp(new ConfigEntry(key, value), type);
        ADMIN.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all().get();
    }

    /** Sets a config, sees the value with its source, and deletes it again. */
    private static void setAndDelete(ConfigResource resource, String key, String value, ConfigEntry.ConfigSource source)
            throws Exception {
        alter(resource, key, value, AlterConfigOp.OpType.SET);
        Check.eventually(key + " is set", () -> {
            var entry = configs(resource).get(key);
            return entry != null && value.equals(entry.value()) && entry.source() == source;
        });
        alter(resource, key, null, AlterConfigOp.OpType.DELETE);
        Check.eventually(key + " is deleted", () -> {
            var entry = configs(resource).get(key);
            return entry == null || entry.source() != source;
        });
    }

    private static void topicConfigs(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        var entry = configs(resource).get("max.message.bytes");
        Check.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, entry.source(), "source of the default");
        Check.equal(ConfigEntry.ConfigType.INT, entry.type(), "type");
        Check.that(!entry.documentation().isEmpty(), "no documentation");
        Check.equal(Set.of("message.max.bytes"), entry.synonyms().stream().map(s -> s.name()).collect(toSet()), "synonyms");
        setAndDelete(resource, "retention.ms", "7200000", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        Check.eventually("both policies", () -> "delete,compact".equals(configs(resource).get("cleanup.policy").value()));
        alter(resource, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        Check.eventually("one policy", () -> "compact".equals(configs(resource).get("cleanup.policy").value()));
        refused(InvalidConfigurationException.class, () -> {
            alter(resource, "retention.ms", "forever", AlterConfigOp.OpType.SET);
            return null;
        });
    }

    private static void brokerConfigs(String name) throws Exception {
        var broker = ADMIN.describeCluster().nodes().get().iterator().next().idString();
        var resource = new ConfigResource(ConfigResource.Type.BROKER, broker);
        for (String key : List.of("advertised.listeners", "num.partitions", "default.replication.factor",
                "auto.create.topics.enable", "log.retention.ms", "min.insync.replicas")) {
            Check.that(configs(resource).get(key) != null, "no " + key);
        }
        var everywhere = new ConfigResource(ConfigResource.Type.BROKER, "");
        setAndDelete(everywhere, "message.max.bytes", "2000000",
                ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
    }

    private static void groupConfigs(String name) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, name);
        setAndDelete(resource, "consumer.session.timeout.ms", "7000", ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG);
    }

    private static void clientMetrics(String name) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, name);
        setAndDelete(resource, "interval.ms", "70000", ConfigEntry.ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG);
    }

    private static void brokerLoggers(String name) throws Exception {
        var broker = ADMIN.describeCluster().nodes().get().iterator().next().idString();
        configs(new ConfigResource(ConfigResource.Type.BROKER_LOGGER, broker)); // an answer, whatever loggers there are
    }

    private static void listConfigResources(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        var group = new ConfigResource(ConfigResource.Type.GROUP, name);
        alter(group, "consumer.session.timeout.ms", "7000", AlterConfigOp.OpType.SET);
        var types = Set.of(ConfigResource.Type.GROUP, ConfigResource.Type.TOPIC);
        Check.eventually("the group and the topic are listed", () -> ADMIN
                .listConfigResources(types, new ListConfigResourcesOptions()).all().get()
                .containsAll(List.of(group, new ConfigResource(ConfigResource.Type.TOPIC, name))));
        alter(group, "consumer.session.timeout.ms", null, AlterConfigOp.OpType.DELETE);
    }

    private static Member member(String group, String protocol) throws Exception {
        JavaClient.createTopic(group, 2);
        var member = new Member(group, List.of(group),
                Map.of("group.protocol", protocol, "group.instance.id", "the-instance"));
        Check.eventually("the member owns both partitions", () -> member.owned().size() == 2);
        return member;
    }

    private static Set<String> listed(ListGroupsOptions options) throws Exception {
        return ADMIN.listGroups(options).all().get().stream().map(GroupListing::groupId).collect(toSet());
    }

    private static void listGroups(String name) throws Exception {
        try (var classic = member(name + "-classic", "classic"); var consumer = member(name + "-consumer", "consumer")) {
            var stable = listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE)));
            Check.that(stable.contains(name + "-classic") && stable.contains(name + "-consumer"), "stable are " + stable);
            var empty = listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)));
            Check.that(!empty.contains(name + "-classic") && !empty.contains(name + "-consumer"), "empty are " + empty);
            var classics = listed(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC)));
            Check.that(classics.contains(name + "-classic") && !classics.contains(name + "-consumer"), "classic: " + classics);
            var consumers = listed(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER)));
            Check.that(!consumers.contains(name + "-classic") && consumers.contains(name + "-consumer"), "consumer: " + consumers);
        }
    }

    private static void describeGroup(String name, String protocol) throws Exception {
        try (var member = member(name, protocol)) {
            var group = ADMIN.describeConsumerGroups(List.of(name)).all().get().get(name);
            Check.equal(GroupState.STABLE, group.groupState(), "state");
            Check.equal(protocol, group.type().toString().toLowerCase(), "type");
            Check.equal(protocol.equals("classic") ? "range" : "uniform", group.partitionAssignor(), "assignor");
            Check.equal(1, group.members().size(), "members");
            var described = group.members().iterator().next();
            Check.equal(Optional.of("the-instance"), described.groupInstanceId(), "instance ID");
            Check.equal(Set.of(0, 1), described.assignment().topicPartitions().stream()
                    .map(TopicPartition::partition).collect(toSet()), "assignment");
            Check.that(!group.coordinator().isEmpty(), "no coordinator");
        }
        refused(GroupIdNotFoundException.class, () -> ADMIN.describeConsumerGroups(List.of(name + "-none")).all().get());
    }

    private static void describeClassicGroups(String name) throws Exception {
        try (var member = member(name, "classic")) {
            var group = ADMIN.describeClassicGroups(List.of(name)).all().get().get(name);
            Check.equal("consumer", group.protocol(), "protocol type");
            Check.equal("range", group.protocolData(), "protocol");
        }
    }

    private static Map<TopicPartition, Long> committed(String group) throws Exception {
        return ADMIN.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet().stream()
                .collect(toMap(Map.Entry::getKey, e -> e.getValue().offset()));
    }

    private static void groupOffsets(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        produce(name, 10);
        var partition = new TopicPartition(name, 0);
        ADMIN.alterConsumerGroupOffsets(name, Map.of(partition, new OffsetAndMetadata(7, "seven"))).all().get();
        var offset = ADMIN.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().get(partition);
        Check.equal("7 seven", offset.offset() + " " + offset.metadata(), "committed");
        try (var consumer = Member.consumer(name, Map.of())) {
            consumer.subscribe(List.of(name));
            Check.equal(7L, JavaClient.read(consumer, 3).get(0).offset(), "first offset read");
        }
        Check.equal(Map.of(), committed(name + "-none"), "offsets of a group that does not exist");
    }

    private static void deleteGroupOffsets(String name) throws Exception {
        var partition = new TopicPartition(name, 0);
        try (var member = member(name, "classic")) {
            produce(name, 1);
            Check.eventually("the member commits", () -> committed(name).get(partition) != null);
            refused(GroupSubscribedToTopicException.class,
                    () -> ADMIN.deleteConsumerGroupOffsets(name, Set.of(partition)).all().get());
        }
        removeAll(name);
        ADMIN.deleteConsumerGroupOffsets(name, Set.of(partition)).all().get();
        Check.that(!committed(name).containsKey(partition), "the offset is still there");
    }

    /** Removes members that stay when they close, since they are static. */
    private static void removeAll(String group) throws Exception {
        ADMIN.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
    }

    private static void deleteGroups(String name) throws Exception {
        try (var member = member(name, "classic")) {
            refused(GroupNotEmptyException.class, () -> ADMIN.deleteConsumerGroups(List.of(name)).all().get());
        }
        removeAll(name);
        ADMIN.deleteConsumerGroups(List.of(name)).all().get();
        refused(GroupIdNotFoundException.class, () -> ADMIN.deleteConsumerGroups(List.of(name)).all().get());
    }

    private static void removeMembers(String name) throws Exception {
        member(name, "classic").close(); // stays a member until its session ends, since it is static
        Check.equal(1, membersOf(name), "members after the close");
        Collection<MemberToRemove> members = List.of(new MemberToRemove("the-instance"));
        ADMIN.removeMembersFromConsumerGroup(name, new RemoveMembersFromConsumerGroupOptions(members)).all().get();
        Check.equal(0, membersOf(name), "members after the removal");
        refused(UnknownMemberIdException.class, () -> ADMIN.removeMembersFromConsumerGroup(name,
                new RemoveMembersFromConsumerGroupOptions(members)).all().get());
    }

    private static int membersOf(String group) throws Exception {
        return ADMIN.describeConsumerGroups(List.of(group)).all().get().get(group).members().size();
    }

    private static void features(String name) throws Exception {
        var metadata = ADMIN.describeFeatures().featureMetadata().get();
        Check.equal((short) 1, metadata.finalizedFeatures().get("group.version").maxVersionLevel(), "group.version");
        Check.equal((short) 2, metadata.supportedFeatures().get("transaction.version").maxVersion(), "transaction.version");
        var trial = new UpdateFeaturesOptions().validateOnly(true);
        var down = Map.of("transaction.version", new FeatureUpdate((short) 0, FeatureUpdate.UpgradeType.SAFE_DOWNGRADE));
        ADMIN.updateFeatures(down, trial).all().get();
        var beyond = Map.of("transaction.version", new FeatureUpdate((short) 9, FeatureUpdate.UpgradeType.UPGRADE));
        refused(InvalidUpdateVersionException.class, () -> ADMIN.updateFeatures(beyond, trial).all().get());
        var update = Map.of("no.such.feature", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE));
        refused(InvalidUpdateVersionException.class, () -> ADMIN.updateFeatures(update, new UpdateFeaturesOptions()).all().get());
    }

    private static void electLeaders(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        var partition = new TopicPartition(name, 0);
        var none = new TopicPartition(name + "-none", 0);
        var elected = ADMIN.electLeaders(ElectionType.PREFERRED, Set.of(partition, none)).partitions().get();
        Check.that(elected.get(partition).orElseThrow() instanceof ElectionNotNeededException, "" + elected);
        Check.that(elected.get(none).orElseThrow() instanceof UnknownTopicOrPartitionException, "" + elected);
    }

    private static void reassignments(String name) throws Exception {
        JavaClient.createTopic(name, 1);
        Check.equal(Map.of(), ADMIN.listPartitionReassignments().reassignments().get(), "reassignments");
        var partition = new TopicPartition(name, 0);
        var nowhere = Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(4711))));
        refused(InvalidReplicaAssignmentException.class, () -> ADMIN.alterPartitionReassignments(nowhere).all().get());
    }

    private static void metadataQuorum(String name) throws Exception {
        var quorum = ADMIN.describeMetadataQuorum().quorumInfo().get();
        Check.that(quorum.voters().stream().anyMatch(v -> v.replicaId() == quorum.leaderId()), "the leader is no voter");
    }

    private static void describeAcls(String name) throws Exception {
        refused(SecurityDisabledException.class, () -> ADMIN.describeAcls(AclBindingFilter.ANY).values().get());
    }

    private static void describeClientQuotas(String name) throws Exception {
        Check.equal(Map.of(), ADMIN.describeClientQuotas(ClientQuotaFilter.all()).entities().get(), "quotas");
    }
}
