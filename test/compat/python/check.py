"""What the scripts of all Python clients share.

A script defines its features and ends with check.main(). It is called with the
names of the features to run, all without any, or with --list, and prints a
line for each as soon as it is known: "ok NAME" or "FAIL NAME: reason".
"""

import os
import subprocess
import sys
import time
import traceback

BOOTSTRAP = os.environ["COMPAT_BOOTSTRAP"]

# Keeps the topics and groups of one run apart from those of others on the same cluster.
RUN = os.environ.get("COMPAT_RUN", str(os.getpid()))

_features = {}


def feature(name):
    """Registers a function that raises when the feature does not work. It gets a
    name that it may use for topics and groups."""

    def register(function):
        _features[name] = function
        return function

    return register


def main():
    client = os.path.basename(sys.argv[0]).removesuffix(".py")
    arguments = sys.argv[1:]
    if arguments[:1] == ["--list"]:
        print("\n".join(_features))
        return
    for name in arguments or _features:
        try:
            _features[name](f"{client}-{name}-{RUN}")
            print(f"ok {name}", flush=True)
        except Exception as e:
            traceback.print_exc()
            reason = " ".join(f"{type(e).__name__}: {e}".split())
            print(f"FAIL {name}: {reason}", flush=True)


def equal(got, want, what="got"):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, want {want!r}")


def eventually(what, condition, seconds=60):
    """Waits until the condition holds, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return result


def shared_out(members, partitions):
    """Tells whether the members own all partitions, each has some and none is owned twice."""
    owned = [p for m in members for p in m.owned()]
    return all(m.owned() for m in members) and sorted(owned) == list(range(partitions))


class Victim:
    """A group member in a process of its own, to be killed: `SCRIPT --member ARGUMENTS`,
    which prints the partitions that it owns whenever they change."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--member", *arguments], stdout=subprocess.PIPE, text=True)

    def wait_until_assigned(self):
        while line := self._process.stdout.readline():
            if line.strip():
                return
        raise RuntimeError("the member ended before it was assigned anything")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
