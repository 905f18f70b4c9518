// What the scripts of all Node clients share.
//
// A script defines its features and ends with main(). It is called with the
// names of the features to run, all without any, or with --list, and prints a
// line for each as soon as it is known: "ok NAME" or "FAIL NAME: reason".
'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const brokers = process.env.COMPAT_BOOTSTRAP.split(',');

// Keeps the topics and groups of one run apart from those of others on the same cluster.
const run = process.env.COMPAT_RUN || process.pid;

const features = new Map();

// feature registers a function that throws when the feature does not work. It
// gets a name that it may use for topics and groups.
function feature(name, body) {
  features.set(name, body);
}

// main runs the features that were asked for, after connect. With --member ARGUMENTS
// it becomes the member of a group that a test is going to kill.
async function main(connect, memberToKill) {
  const names = process.argv.slice(2);
  if (names[0] === '--list') {
    console.log([...features.keys()].join('\n'));
    return;
  }
  if (names[0] === '--member') {
    await memberToKill(...names.slice(1));
    return;
  }
  await connect();
  const client = path.basename(process.argv[1], '.js');
  for (const name of names.length ? names : features.keys()) {
    try {
      await features.get(name)(`${client}-${name}-${run}`);
      console.log(`ok ${name}`);
    } catch (e) {
      console.error(e);
      console.log(`FAIL ${name}: ${String(e).replace(/\s+/g, ' ')}`);
    }
  }
  process.exit(); // a failed feature may have left a client behind
}

// eventually waits until the condition holds, and returns what it returned.
async function eventually(what, condition, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(50);
  }
}

// sharedOut tells whether the members own all partitions, each has some and none is owned twice.
function sharedOut(members, partitions) {
  const owned = members.flatMap((m) => m.owned()).sort();
  return members.every((m) => m.owned().length > 0) && owned.join() === [...Array(partitions).keys()].join();
}

// Victim is a group member in a process of its own, to be killed. It prints the
// partitions that it owns whenever they change.
class Victim {
  constructor(...args) {
    this.process = spawn(process.execPath, [process.argv[1], '--member', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.output = '';
    this.process.stdout.on('data', (data) => (this.output += data));
  }

  untilAssigned() {
    return eventually('the other process is assigned something', () => /^owns \d/m.test(this.output));
  }

  kill() {
    this.process.kill('SIGKILL');
  }
}

module.exports = { assert, brokers, eventually, feature, main, sharedOut, sleep, Victim };
