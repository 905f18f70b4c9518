// @confluentinc/kafka-javascript, the Node client on librdkafka, by the API that it shares with kafkajs.
'use strict';

const { ErrorCodes, Kafka } = require('@confluentinc/kafka-javascript').KafkaJS;
const { assert, brokers, eventually, feature, main, sharedOut, sleep, Victim } = require('./check');

const logLevel = 0; // only errors that are thrown
const kafka = new Kafka({ kafkaJS: { brokers, logLevel } });
const admin = kafka.admin();
const partitions = 6;
const after = [0, 1, 2, 3, 4, 5].map((n) => `after ${n}`); // a record for each partition

async function createTopic(topic, numPartitions = partitions, configEntries = []) {
  await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] });
  // Brokers hear of a new topic a moment later.
  await eventually('the topic is known', async () => (await admin.listTopics()).includes(topic));
}

// produce sends the values round the partitions.
async function produce(topic, values, { count = partitions, ...config } = {}) {
  const producer = kafka.producer({ kafkaJS: config });
  await producer.connect();
  await producer.send({ topic, messages: values.map((value, n) => ({ value, partition: n % count })) });
  await producer.disconnect();
}

// Member is a member of a group that collects what it reads, and commits it.
class Member {
  constructor(groupId, topics, { commit = true, protocol = 'classic', ...config } = {}) {
    // With the consumer protocol the broker decides about the session.
    const classic = protocol === 'classic' ? { 'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500 } : {};
    this.messages = [];
    this.revocations = [];
    this.consumer = kafka.consumer({
      kafkaJS: { groupId, fromBeginning: true, autoCommit: commit, autoCommitInterval: 500, logLevel },
      'group.protocol': protocol,
      'topic.metadata.refresh.interval.ms': 1000,
      rebalance_cb: (error, assignment) => {
        if (error.code === -174) this.revocations.push(assignment.length); // ERR__REVOKE_PARTITIONS
      },
      ...classic,
      ...config,
    });
    this.started = this.start(topics);
  }

  async start(topics) {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics });
    await this.consumer.run({
      eachMessage: async ({ partition, message }) => this.messages.push({ partition, ...message }),
    });
    this.running = true;
  }

  assignment() {
    return this.running ? this.consumer.assignment() : [];
  }

  owned() {
    return this.assignment().map((p) => p.partition);
  }

  topics() {
    return [...new Set(this.assignment().map((p) => p.topic))].sort();
  }

  values() {
    return this.messages.map((m) => String(m.value)).sort();
  }

  async close() {
    await this.started;
    this.running = false;
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
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    const batch = [...Array(60).keys()].map((n) => `${compression} ${n} ${'x'.repeat(1000)}`);
    await produce(name, batch, { compression });
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
  const producer = kafka.producer({ kafkaJS: { transactionalId, logLevel } });
  await producer.connect();
  return producer;
}

// toEach is the value for each partition.
const toEach = (value) => Array.from({ length: partitions }, (_, partition) => ({ value, partition }));

// readIsolated returns the values of a partition, of which there must be count in each.
async function readIsolated(topic, isolation, count) {
  const member = new Member(`${topic}-${count}`, [topic], { 'isolation.level': isolation });
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
  assert.deepEqual(await readIsolated(name, 'read_committed', 3), committed.slice(0, 3));
  assert.equal(new Set(await readIsolated(name, 'read_uncommitted', 7)).size, 7);
  await open.commit();
  assert.deepEqual(await readIsolated(name, 'read_committed', 4), committed);
  await producer.disconnect();
});

feature('transactions-offsets', async (name) => {
  await createTopic(name);
  const member = new Member(name, [name], { commit: false });
  await eventually('all partitions', () => member.owned().length === partitions);
  const producer = await transactional(name);
  for (const [offset, end, want] of [['4', 'commit', '4'], ['6', 'abort', '4'], ['8', 'commit', '8']]) {
    const transaction = await producer.transaction();
    const topics = [{ topic: name, partitions: [{ partition: 0, offset }] }];
    await transaction.sendOffsets({ consumer: member.consumer, topics });
    await transaction[end]();
    await eventually(`offset ${want}`, async () => {
      const [topic] = await admin.fetchOffsets({ groupId: name, topics: [name] });
      return topic?.partitions.find((p) => p.partition === 0).offset === want;
    });
  }
  await producer.disconnect();
  await member.close();
});

feature('transactions-fencing', async (name) => {
  await createTopic(name);
  const first = await (await transactional(name)).transaction();
  await first.send({ topic: name, messages: toEach('by the first') });
  const second = await (await transactional(name)).transaction();
  await assert.rejects(first.commit(), { code: ErrorCodes.ERR__FENCED });
  await second.send({ topic: name, messages: toEach('by the second') });
  await second.commit();
  assert.deepEqual(await readIsolated(name, 'read_committed', 1), ['by the second']);
});

feature('topics', async (name) => {
  const known = async () => (await admin.fetchTopicMetadata({ topics: [name] }))[0].partitions.length;
  await createTopic(name, 2);
  await eventually('2 partitions', async () => (await known()) === 2);
  await admin.deleteTopics({ topics: [name] });
  await eventually('the topic is gone', async () => !(await admin.listTopics()).includes(name));
});

feature('groups', async (name) => {
  const described = async () => (await admin.describeGroups([name])).groups[0];
  const listed = async () => (await admin.listGroups()).groups.some((g) => g.groupId === name);
  await createTopic(name);
  const member = new Member(name, [name]);
  await eventually('all partitions', () => member.owned().length === partitions);
  const group = await described();
  assert.deepEqual([group.protocol, group.members.length], ['roundrobin', 1]);
  await member.close();
  await eventually('the group is empty', async () => (await described()).members.length === 0);
  assert(await listed(), 'the empty group is not listed');
  await admin.deleteGroups([name]);
  assert(!(await listed()), 'the deleted group is listed');
});

feature('offsets', async (name) => {
  await createTopic(name);
  await produce(name, Array(60).fill('x'));
  assert.equal((await read(name, 60)).length, 60);
  const [topic] = await admin.fetchOffsets({ groupId: name, topics: [name] });
  assert.deepEqual(topic.partitions.map((p) => p.offset), Array(partitions).fill('10'));
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

// rebalance returns how many partitions each revocation took from the first
// member, which keeps some as long as it lives where rebalancing is cooperative.
async function rebalance(name, options) {
  await createTopic(name);
  const first = new Member(name, [name], options);
  await eventually('the first member owns all', () => first.owned().length === partitions);
  const members = [first, new Member(name, [name], options), new Member(name, [name], options)];
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
  const revocations = [...first.revocations];
  await first.close();
  return revocations;
}

async function cooperative(name, options) {
  const revocations = await rebalance(name, options);
  assert(revocations.every((n) => n < partitions), `a revocation of everything among ${revocations}`);
}

async function crash(name, options) {
  await createTopic(name);
  const survivor = new Member(name, [name], options);
  await eventually('the survivor owns all', () => survivor.owned().length === partitions);
  const victim = new Victim(name, name, options.protocol);
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
}

async function memberToKill(group, topic, protocol) {
  const member = new Member(group, [topic], { protocol });
  for (let printed = ''; ; await sleep(50)) {
    const owned = member.owned().join(' ');
    if (owned !== printed) console.log('owns', owned);
    printed = owned;
  }
}

async function commit(name, options) {
  await createTopic(name, 1);
  await produce(name, Array.from({ length: 30 }, (_, n) => String(n)), { count: 1 });
  const member = new Member(name, [name], { ...options, commit: false });
  await eventually('30 records', () => member.messages.length === 30);
  await member.consumer.commitOffsets([{ topic: name, partition: 0, offset: '12', metadata: 'twelve' }]);
  const [committed] = await member.consumer.committed([{ topic: name, partition: 0 }]);
  assert.deepEqual([committed.offset, committed.metadata], ['12', 'twelve']);
  await member.close();
  const resumed = new Member(name, [name], options);
  await eventually('the rest', () => resumed.messages.length >= 18);
  await resumed.close();
  assert.equal(resumed.messages[0].offset, '12');
}

async function staticMember(name, options) {
  await createTopic(name);
  const other = new Member(name, [name], { ...options, 'group.instance.id': 'other' });
  let returning = new Member(name, [name], { ...options, 'group.instance.id': 'returning' });
  await eventually('they share', () => sharedOut([other, returning], partitions));
  const [mine, revocations] = [returning.owned().join(), other.revocations.length];
  await returning.close();
  returning = new Member(name, [name], { ...options, 'group.instance.id': 'returning' });
  await eventually('it is back', () => returning.owned().join() === mine);
  assert.equal(other.revocations.length, revocations, 'revocations that the other member saw');
  await returning.close();
  await other.close();
}

async function regex(name, options) {
  await createTopic(`${name}-1`, 1);
  const member = new Member(name, [new RegExp(`^${name}-[0-9]$`)], options);
  await eventually('the first topic', () => member.topics().join() === `${name}-1`);
  await createTopic(`${name}-2`, 1);
  await eventually('the topic that came later', () => member.topics().join() === `${name}-1,${name}-2`);
  await member.close();
}

const classic = { protocol: 'classic' };
feature('group-rebalance', (name) => rebalance(name, classic));
feature('group-crash', (name) => crash(name, classic));
feature('group-commit', (name) => commit(name, classic));
feature('group-static', (name) => staticMember(name, classic));
feature('group-cooperative', (name) =>
  cooperative(name, { ...classic, 'partition.assignment.strategy': 'cooperative-sticky' }));
feature('group-regex', (name) => regex(name, classic));

const consumer = { protocol: 'consumer' };
feature('consumer-rebalance', (name) => cooperative(name, consumer));
feature('consumer-crash', (name) => crash(name, consumer));
feature('consumer-commit', (name) => commit(name, consumer));
feature('consumer-static', (name) => staticMember(name, consumer));
feature('consumer-regex', (name) => regex(name, consumer));

main(() => admin.connect(), memberToKill);
