// kafkajs, the client in pure JavaScript.
'use strict';

const lz4 = require('lz4-napi');
const snappy = require('snappyjs');
const zstd = require('@bokuweb/zstd-wasm');
const {
  Kafka, CompressionCodecs, CompressionTypes, ConfigResourceTypes, logLevel,
} = require('kafkajs');
const { assert, brokers, eventually, feature, main, sharedOut, sleep, Victim } = require('./check');

const kafka = new Kafka({ brokers, logLevel: logLevel.ERROR });
const admin = kafka.admin();
const partitions = 6;
const after = [0, 1, 2, 3, 4, 5].map((n) => `after ${n}`); // a record for each partition

const zstdReady = zstd.init();

// kafkajs has gzip, and takes the others from whoever has them. The blocks of
// LZ4 must be independent, which those of lz4js, say, are not: Kafka refuses them.
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async (encoder) => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(snappy.uncompress(buffer)),
});
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => zstdReady.then(() => Buffer.from(zstd.compress(encoder.buffer))),
  decompress: async (buffer) => zstdReady.then(() => Buffer.from(zstd.decompress(buffer))),
});

async function createTopic(topic, numPartitions = partitions, configEntries = []) {
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, configEntries }] });
}

// produce sends the values round the partitions.
async function produce(topic, values, options = {}) {
  const { compression, count = partitions, ...config } = options;
  const producer = kafka.producer(config);
  await producer.connect();
  const messages = values.map((value, n) => ({ value, partition: n % count }));
  await producer.send({ topic, compression, messages });
  await producer.disconnect();
}

// Member is a member of a group that collects what it reads, and commits it.
class Member {
  constructor(groupId, topics, { commit = true, readUncommitted = false } = {}) {
    this.consumer = kafka.consumer({
      groupId, readUncommitted, sessionTimeout: 6000, heartbeatInterval: 500, metadataMaxAge: 1000, retry: { retries: 20 },
    });
    this.assignment = {};
    this.messages = [];
    this.joined = 0;
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.assignment = payload.memberAssignment;
      this.joined++;
    });
    this.started = this.start(topics, commit);
  }

  async start(topics, commit) {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics, fromBeginning: true });
    await this.consumer.run({
      autoCommit: commit,
      autoCommitThreshold: 1,
      eachMessage: async ({ partition, message }) => this.messages.push({ partition, ...message }),
    });
  }

  owned() {
    return Object.values(this.assignment).flat();
  }

  topics() {
    return Object.keys(this.assignment).sort();
  }

  values() {
    return this.messages.map((m) => String(m.value)).sort();
  }

  async close() {
    await this.started;
    await this.consumer.disconnect();
  }
}

// read returns the values of a topic, sorted.
async function read(topic, count) {
  const member = new Member(topic, [topic]);
  await eventually(`${count} records`, () => member.messages.length >= count);
  await member.close();
  return member.values();
}

feature('produce-consume', async (name) => {
  await createTopic(name, 1);
  const anHourAgo = String(Date.now() - 3_600_000);
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({
    topic: name,
    messages: [
      { key: 'key', value: 'value', headers: { h: '1' }, timestamp: anHourAgo },
      { key: 'tombstone', value: null },
    ],
  });
  await producer.disconnect();
  const member = new Member(name, [name]);
  await eventually('both records', () => member.messages.length === 2);
  await member.close();
  const [record, tombstone] = member.messages;
  assert.deepEqual([String(record.key), String(record.value), record.offset], ['key', 'value', '0']);
  assert.deepEqual([String(record.headers.h), record.timestamp], ['1', anHourAgo]);
  assert.deepEqual([String(tombstone.key), tombstone.value, tombstone.offset], ['tombstone', null, '1']);
});

feature('codecs', async (name) => {
  await createTopic(name);
  const values = [];
  for (const codec of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    const batch = [...Array(60).keys()].map((n) => `${codec} ${n} ${'x'.repeat(1000)}`);
    await produce(name, batch, { compression: CompressionTypes[codec] });
    values.push(...batch);
  }
  assert.deepEqual(await read(name, values.length), values.sort());
});

feature('idempotence', async (name) => {
  await createTopic(name);
  const values = [...Array(600).keys()].map(String);
  await produce(name, values, { idempotent: true });
  assert.deepEqual(await read(name, values.length), values.sort());
});

async function transactional(transactionalId) {
  const producer = kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  return producer;
}

// toEach is the value for each partition.
const toEach = (value) => Array.from({ length: partitions }, (_, partition) => ({ value, partition }));

// readIsolated returns the values of a partition, of which there must be count in each.
async function readIsolated(topic, readUncommitted, count) {
  const member = new Member(`${topic}-${count}`, [topic], { readUncommitted });
  await eventually(`${count} records in each partition`, () => member.messages.length >= count * partitions);
  await sleep(500);
  await member.close();
  const values = [...Array(partitions).keys()].map((p) =>
    member.messages.filter((m) => m.partition === p).map((m) => String(m.value)));
  assert.deepEqual(values, Array(partitions).fill(values[0]));
  return values[0];
}

feature('transactions', async (name) => {
  await createTopic(name);
  const producer = await transactional(name);
  for (let n = 0; n < 6; n++) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: name, messages: toEach(`transaction ${n}`) });
    await (n % 2 === 0 ? transaction.commit() : transaction.abort());
  }
  const open = await producer.transaction();
  await open.send({ topic: name, messages: toEach('transaction 6') });
  const committed = [0, 2, 4, 6].map((n) => `transaction ${n}`);
  assert.deepEqual(await readIsolated(name, false, 3), committed.slice(0, 3));
  assert.equal(new Set(await readIsolated(name, true, 7)).size, 7);
  await open.commit();
  assert.deepEqual(await readIsolated(name, false, 4), committed);
  await producer.disconnect();
});

feature('transactions-offsets', async (name) => {
  await createTopic(name);
  const producer = await transactional(name);
  for (const [offset, end, want] of [['4', 'commit', '4'], ['6', 'abort', '4'], ['8', 'commit', '8']]) {
    const transaction = await producer.transaction();
    const topics = [{ topic: name, partitions: [{ partition: 0, offset }] }];
    await transaction.sendOffsets({ consumerGroupId: name, topics });
    await transaction[end]();
    await eventually(`offset ${want}`, async () => {
      const [topic] = await admin.fetchOffsets({ groupId: name, topics: [name] });
      return topic.partitions.find((p) => p.partition === 0).offset === want;
    });
  }
  await producer.disconnect();
});

feature('transactions-fencing', async (name) => {
  await createTopic(name);
  const first = await (await transactional(name)).transaction();
  await first.send({ topic: name, messages: toEach('by the first') });
  const second = await (await transactional(name)).transaction();
  await assert.rejects(first.commit(), { type: 'INVALID_PRODUCER_EPOCH' });
  await second.send({ topic: name, messages: toEach('by the second') });
  await second.commit();
  assert.deepEqual(await readIsolated(name, false, 1), ['by the second']);
});

feature('topics', async (name) => {
  const known = async () => (await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length;
  await createTopic(name, 2);
  assert.equal(await known(), 2);
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
  await eventually('4 partitions', async () => (await known()) === 4);
  await admin.deleteTopics({ topics: [name] });
  await eventually('the topic is gone', async () => !(await admin.listTopics()).includes(name));
  const cluster = await admin.describeCluster();
  assert.equal(cluster.clusterId.length, 22);
  assert(cluster.brokers.some((b) => b.nodeId === cluster.controller), 'the controller is none of the brokers');
});

feature('configs', async (name) => {
  const value = async (configName, type = ConfigResourceTypes.TOPIC, resource = name) => {
    const described = await admin.describeConfigs({ resources: [{ type, name: resource, configNames: [configName] }] });
    return described.resources[0].configEntries[0].configValue;
  };
  await createTopic(name, 1, [{ name: 'retention.ms', value: '3600000' }]);
  assert.equal(await value('retention.ms'), '3600000');
  // kafkajs knows the older AlterConfigs alone, which replaces all configs of a topic.
  const configEntries = [{ name: 'cleanup.policy', value: 'compact' }];
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }] });
  await eventually('the new value', async () => (await value('cleanup.policy')) === 'compact');
  assert.equal(await value('retention.ms'), '604800000');
  const broker = (await admin.describeCluster()).brokers[0].nodeId;
  assert(Number(await value('num.partitions', ConfigResourceTypes.BROKER, String(broker))) > 0);
});

feature('groups', async (name) => {
  const described = async () => (await admin.describeGroups([name])).groups[0];
  const listed = async () => (await admin.listGroups()).groups.some((g) => g.groupId === name);
  await createTopic(name);
  const member = new Member(name, [name]);
  await eventually('all partitions', () => member.owned().length === partitions);
  const group = await described();
  assert.deepEqual([group.state, group.protocol, group.members.length], ['Stable', 'RoundRobinAssigner', 1]);
  await member.close();
  await eventually('the group is empty', async () => (await described()).state === 'Empty');
  assert(await listed(), 'the empty group is not listed');
  await admin.deleteGroups([name]);
  assert(!(await listed()), 'the deleted group is listed');
});

feature('offsets', async (name) => {
  const committed = async () => {
    const [topic] = await admin.fetchOffsets({ groupId: name, topics: [name] });
    return topic.partitions.sort((a, b) => a.partition - b.partition).map((p) => p.offset);
  };
  await createTopic(name);
  await produce(name, Array(60).fill('x'));
  const altered = [...Array(partitions).keys()].map((p) => ({ partition: p, offset: String(p + 1) }));
  await admin.setOffsets({ groupId: name, topic: name, partitions: altered });
  assert.deepEqual(await committed(), ['1', '2', '3', '4', '5', '6']);
  // What was altered is where a member starts. It may read a record twice.
  const member = new Member(name, [name]);
  const distinct = () => new Set(member.messages.map((m) => `${m.partition} ${m.offset}`));
  await eventually('39 records', () => distinct().size >= 39);
  await member.close();
  assert.equal(distinct().size, 39);
  await admin.resetOffsets({ groupId: name, topic: name, earliest: true });
  assert.equal((await read(name, 60)).length, 60);
});

feature('records', async (name) => {
  const first = async () => (await admin.fetchTopicOffsets(name)).find((p) => p.partition === 0);
  await createTopic(name);
  await produce(name, Array(60).fill('x'));
  assert.deepEqual([(await first()).low, (await first()).high], ['0', '10']);
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '4' }] });
  assert.equal((await first()).low, '4');
  const byTime = await admin.fetchTopicOffsetsByTimestamp(name, 1);
  assert.equal(byTime.find((p) => p.partition === 0).offset, '4');
});

feature('pause-seek', async (name) => {
  await createTopic(name, 1);
  await produce(name, Array.from({ length: 20 }, (_, n) => String(n)), { count: 1 });
  const member = new Member(name, [name], { commit: false });
  await eventually('20 records', () => member.messages.length === 20);
  member.messages.length = 0;
  member.consumer.seek({ topic: name, partition: 0, offset: '15' });
  await eventually('5 of them again', () => member.messages.length === 5);
  assert.equal(member.messages[0].offset, '15');
  member.consumer.pause([{ topic: name, partitions: [0] }]);
  await produce(name, ['while paused'], { count: 1 });
  await sleep(2000);
  assert.equal(member.messages.length, 5, 'records read while paused');
  member.consumer.resume([{ topic: name, partitions: [0] }]);
  await eventually('the record sent while paused', () => member.messages.length === 6);
  await member.close();
});

feature('group-rebalance', async (name) => {
  await createTopic(name);
  const first = new Member(name, [name]);
  await eventually('the first member owns all', () => first.owned().length === partitions);
  const members = [first, new Member(name, [name]), new Member(name, [name])];
  await eventually('three members share', () => sharedOut(members, partitions));
  const values = Array.from({ length: 60 }, (_, n) => String(n));
  await produce(name, values);
  const read = () => new Set(members.flatMap((m) => m.values()));
  await eventually('they read everything', () => values.every((v) => read().has(v)));
  await members[1].close();
  await members[2].close();
  await eventually('the first member owns all again', () => first.owned().length === partitions);
  await produce(name, after);
  await eventually('it reads all partitions', () => after.every((v) => first.values().includes(v)));
  await first.close();
});

feature('group-crash', async (name) => {
  await createTopic(name);
  const survivor = new Member(name, [name]);
  await eventually('the survivor owns all', () => survivor.owned().length === partitions);
  const victim = new Victim(name, name);
  try {
    await victim.untilAssigned();
    await eventually('they share', () => survivor.owned().length < partitions);
  } finally {
    victim.kill();
  }
  await produce(name, after);
  await eventually('the survivor owns all again', () => survivor.owned().length === partitions);
  await eventually('it reads all partitions', () => after.every((v) => survivor.values().includes(v)));
  await survivor.close();
});

async function memberToKill(group, topic) {
  const member = new Member(group, [topic]);
  member.consumer.on(member.consumer.events.GROUP_JOIN, () => console.log('owns', ...member.owned()));
  await member.started;
}

feature('group-commit', async (name) => {
  await createTopic(name, 1);
  await produce(name, Array.from({ length: 30 }, (_, n) => String(n)), { count: 1 });
  const member = new Member(name, [name], { commit: false });
  await eventually('30 records', () => member.messages.length === 30);
  await member.consumer.commitOffsets([{ topic: name, partition: 0, offset: '12', metadata: 'twelve' }]);
  await member.close();
  const [topic] = await admin.fetchOffsets({ groupId: name, topics: [name] });
  assert.deepEqual(topic.partitions, [{ partition: 0, offset: '12', metadata: 'twelve' }]);
  const resumed = new Member(name, [name]);
  await eventually('the rest', () => resumed.messages.length >= 18);
  await resumed.close();
  assert.equal(resumed.messages[0].offset, '12');
});

// kafkajs looks for topics when it subscribes, and never again: by then every
// broker must have heard of them.
feature('group-regex', async (name) => {
  await createTopic(`${name}-1`, 1);
  await createTopic(`${name}-2`, 1);
  await sleep(2000);
  const member = new Member(name, [new RegExp(`^${name}-[0-9]$`)]);
  await eventually('both topics', () => member.topics().join() === `${name}-1,${name}-2`);
  await member.close();
});

main(() => admin.connect(), memberToKill);
