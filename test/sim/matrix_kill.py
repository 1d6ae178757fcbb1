# SPDX-License-Identifier: Apache-2.0
"""The kill matrix: SIGKILL at every register write, sysfs write, state-file operation, API request and log line of a
switch, then a restart. After it the node has to be as if nothing had happened.

Whole for 1 H100 + 1 LS10 from off to on and from off to ppcie, and for 1 B200, whose firmware is spoken to in another
way, from off to on. A random sample for the other transitions, for 8 H100 + 4 LS10, for a label that changes while
cc-manager is dead, for a lost state directory, for a second kill during the recovery, and for SIGTERM at random times.
KILL_ALL=1 takes all points of all; KILL_SEED=N repeats a sample; KILL_SAMPLE=N sets its size.
"""

import json
import os
import random
import shutil
import sys
import threading
import time

import simlib
from simlib import DEPLOY, LABEL, PAUSED, READY, READY_FOR, STATE, Node, closing, wait_until

ALL = bool(os.environ.get("KILL_ALL"))
SEED = int(os.environ.get("KILL_SEED", str(random.SystemRandom().randrange(10**6))))
SAMPLE = int(os.environ.get("KILL_SAMPLE", "24"))
KINDS = {"reg": "register writes", "sysfs": "sysfs writes", "file": "state-file operations", "send": "API requests",
         "log": "log lines"}
KILLED = 137

SMALL, LARGE, OTHER = "h100:1,ls10:1", "h100:8,ls10:4", "b200:1"

# What users and others have under nvidia.com/gpu.deploy.*, and what has to be there in the end.
DEPLOYED = {
    "vfio-manager": "true",
    "kata-sandbox-device-plugin": "true",
    "kata-manager": "true",
    "sandbox-validator": "false",
    "vgpu-device-manager": "my-value",
    "sandbox-device-plugin": None,
    "vgpu-manager": f"own_{PAUSED}",
}
AFTER = {**DEPLOYED, "vgpu-manager": "own"}


def deploy_labels(node):
    labels = node.kube.labels()
    return {name: labels.get(DEPLOY + name) for name in DEPLOYED}


def new_node(folder, devices, before):
    node = Node(folder, devices, boot_ms=10, reset_ms=5, leave_ms=2, return_ms=2,
                kube=["--operator-set=none"], sim=["--strict", f"--mode={before}"],
                labels={DEPLOY + k: v for k, v in DEPLOYED.items() if v is not None})
    node.kube.label({LABEL: before, STATE: "success", READY: READY_FOR[before]})
    return node


def honest_when_dead(node):
    """Nobody may be told that a mode is in force while it is not: claims of a node whose agent is dead."""
    ready = node.kube.labels().get(READY)
    if ready in (None, ""):
        return []
    allowed = ("on", "ppcie") if ready == "true" else ("off",)
    complaints = [node.wrong_hardware(mode, drivers=False) for mode in allowed]
    return [] if not all(complaints) else [f"dead with {READY}={ready}, but {complaints[0]}"]


def wrong_in_the_end(node, mode, remembered=True):
    """remembered: the state directory is there, the only place that knows what power/control was before."""
    wrong = node.wrong_hardware(mode) + node.wrong_labels(mode)
    for name, value in AFTER.items():
        if (now := deploy_labels(node)[name]) != value:
            wrong.append(f"{DEPLOY}{name} is {now!r}, not {value!r}")
    for d in node.truth():
        if d["driverOverride"] != "vfio-pci" or (remembered and d["powerControl"] != "auto"):
            wrong.append(f"{d['bdf']}: power/control {d['powerControl']}, driver_override {d['driverOverride']}")
    return wrong


def pods_back(node):
    want = ["nvidia-kata-manager", "nvidia-kata-sandbox-device-plugin-daemonset", "nvidia-vfio-manager"]
    return node.kube.pods() == want


class Point:
    """One kill: at the n-th of a kind, and what is different about it."""

    def __init__(self, devices, before, after, kind, n, how="once", second=None):
        self.devices, self.before, self.after = devices, before, after
        self.kind, self.n, self.how, self.second = kind, n, how, second

    def __str__(self):
        text = f"{self.devices} {self.before} -> {self.after}: killed at {self.kind} {self.n}"
        if self.second:
            text += f", again at {self.second[0]} {self.second[1]}"
        return text + ("" if self.how == "once" else f", {self.how}")

    def run(self, folder):
        """True when the process was killed, False when it had ended before."""
        with closing(new_node(folder, self.devices, self.before)) as node:
            node.kube.label({LABEL: self.after})
            done = node.once(sim=[f"--kill-at={self.n}", f"--kill-kind={self.kind}"])
            if done.rc not in (KILLED, 0):
                raise AssertionError(f"exit {done.rc}: {done.err[-800:]}")
            problems = honest_when_dead(node)
            wanted = self.after
            if self.how == "label back":
                wanted = self.before
                node.kube.label({LABEL: self.before})
            elif self.how == "state lost":
                shutil.rmtree(node.agent_state, ignore_errors=True)
            if self.second:
                again = node.once(sim=[f"--kill-at={self.second[1]}", f"--kill-kind={self.second[0]}"])
                if again.rc not in (KILLED, 0):
                    problems.append(f"second run: exit {again.rc}: {again.err[-800:]}")
                problems += honest_when_dead(node)
            log = self.recover(node, wanted, problems)
            problems += wrong_in_the_end(node, wanted, self.how != "state lost")
            if not problems:
                try:
                    wait_until(lambda: pods_back(node), 5, lambda: f"operands' pods: {node.kube.pods()}")
                except AssertionError as e:
                    problems.append(str(e))
            if problems:
                raise AssertionError("; ".join(problems) + f"\n  first run: {done.err[-700:]}\n  recovery: {log}")
            return done.rc == KILLED

    def recover(self, node, wanted, problems):
        if self.how != "daemon":
            done = node.once()
            if done.rc != 0:
                problems.append(f"recovery: exit {done.rc}")
            return done.err[-900:]
        node.start()
        try:
            wait_until(lambda: "watching the node" in simlib.tail(node.log), 15, "")
            wait_until(lambda: node.ready_file.exists() and not wrong_in_the_end(node, wanted), 15, "")
        except AssertionError:
            pass  # the caller looks again, and says what is wrong
        rc = node.stop()
        if rc != 0:
            problems.append(f"recovery: exit {rc}")
        return simlib.tail(node.log)


class Stop(Point):
    """SIGTERM some milliseconds after the label changed: an orderly end within 10 s, from which a restart goes on."""

    def __str__(self):
        return f"{self.devices} {self.before} -> {self.after}: stopped after {self.n} ms"

    def run(self, folder):
        with closing(new_node(folder, self.devices, self.before)) as node:
            node.start()
            node.wait_settled(self.before)
            node.kube.label({LABEL: self.after})
            time.sleep(self.n / 1000)
            begin = time.monotonic()
            rc = node.stop(10)
            problems = honest_when_dead(node)
            if rc != 0:
                problems.append(f"exit {rc}, {time.monotonic() - begin:.1f} s after SIGTERM")
            problems += self.paused_or_back(node)
            first = simlib.tail(node.log)
            done = node.once()
            if done.rc != 0:
                problems.append(f"recovery: exit {done.rc}")
            problems += wrong_in_the_end(node, self.after)
            if problems:
                raise AssertionError("; ".join(problems) + f"\n  first run: {first}\n  recovery: {done.err[-900:]}")
            return True

    def paused_or_back(self, node):
        """Who stops in an orderly way takes along what others wait for: nothing is paused without a cause."""
        ready = node.kube.labels().get(READY)
        if ready in (None, ""):
            return []
        return [f"{k} is {v!r} although {READY} is {ready!r}" for k, v in deploy_labels(node).items()
                if v == PAUSED]


def count_points(folder, devices, before, after):
    """{kind: how many} of one undisturbed switch."""
    with closing(new_node(folder, devices, before)) as node:
        node.kube.label({LABEL: after})
        done = node.once(sim=["--count-points"])
        assert done.rc == 0, f"exit {done.rc}: {done.err[-800:]}"
        wrong = wrong_in_the_end(node, after)
        assert not wrong, f"without any kill: {wrong}"
        for line in done.err.splitlines():
            if line.startswith('{"points":'):
                return json.loads(line)
        raise AssertionError(f"gpusim --count-points printed no counts: {done.err[-300:]}")


class Group:
    """Points that are reported as one test."""

    def __init__(self, title, points):
        self.title, self.points, self.killed, self.failed = title, points, 0, []

    def report(self):
        for text in self.failed[:5]:
            print(f"FAIL {text}")
        if self.failed:
            print(f"FAIL {self.title}: {len(self.failed)} of {len(self.points)} points")
        else:
            print(f"ok {self.title}: {self.killed} kills, {len(self.points) - self.killed} ended before", flush=True)


def every(counts):
    """All points of a switch, and two past the end, because no two runs are quite alike."""
    return [(kind, n) for kind in KINDS for n in range(1, counts[kind] + 3)]


def some(rng, points, n):
    return points if ALL or len(points) <= n else sorted(rng.sample(points, n))


def groups(rng, counts):
    """counts: {(devices, before, after): {kind: n}}"""
    whole = [(SMALL, "off", "on"), (SMALL, "off", "ppcie")]
    for switch in [*whole, (OTHER, "off", "on")]:
        for kind, words in KINDS.items():
            points = [Point(*switch, k, n) for k, n in every(counts[switch]) if k == kind]
            yield Group(f"kill: {' '.join((switch[0], switch[1], '->', switch[2]))}, all {words}", points)
    for switch in counts:
        if switch not in whole and switch[0] != OTHER:
            points = [Point(*switch, k, n) for k, n in some(rng, every(counts[switch]), SAMPLE)]
            yield Group(f"kill: {' '.join((switch[0], switch[1], '->', switch[2]))}, a sample", points)
    for how in ("daemon", "state lost", "label back"):
        points = [Point(*switch, k, n, how) for switch in whole for k, n in every(counts[switch])]
        yield Group(f"kill: {SMALL}, {how}, a sample", some_points(rng, points))
    pairs = []
    for switch in whole:
        first = every(counts[switch])
        pairs += [Point(*switch, *rng.choice(first), "once", rng.choice(first)) for _ in range(SAMPLE)]
    yield Group(f"kill: {SMALL}, twice, a sample", pairs)
    stops = [Stop(*rng.choice(whole), "term", rng.randrange(400)) for _ in range(SAMPLE)]
    yield Group(f"stop: {SMALL}, SIGTERM at random times", stops)


def some_points(rng, points):
    return points if ALL else rng.sample(points, min(len(points), 2 * SAMPLE))


def counted(base):
    switches = [(SMALL, a, b) for a in simlib.MODES for b in simlib.MODES if a != b]
    switches += [(LARGE, "off", "on"), (LARGE, "off", "ppcie"), (LARGE, "ppcie", "on"), (OTHER, "off", "on")]
    with simlib.pool() as pool:
        found = pool.map(lambda i: count_points(base / f"count-{i}", *switches[i]), range(len(switches)))
        return dict(zip(switches, found))


counting = threading.Lock()


def run_point(base, job):
    i, group, point = job
    folder = base / f"point-{i}"
    try:
        killed = point.run(folder)
        with counting:
            group.killed += killed
    except AssertionError as e:
        group.failed.append(f"{point}: {e}")
    except Exception as e:
        group.failed.append(f"{point}: {type(e).__name__}: {e}")
    shutil.rmtree(folder, ignore_errors=True)


def main():
    picked = sys.argv[1:]
    print(f"# seed {SEED} (KILL_SEED={SEED} repeats this sample)", flush=True)
    with simlib.folder() as base:
        counts = counted(base)
        for (devices, before, after), kinds in counts.items():
            text = ", ".join(f"{kinds[k]} {words}" for k, words in KINDS.items())
            print(f"# kill points of {devices} {before} -> {after}: {text}; {sum(kinds[k] for k in KINDS)} in all")
        rng = random.Random(SEED)
        chosen = [g for g in groups(rng, counts) if not picked or any(p in g.title for p in picked)]
        jobs = [(group, point) for group in chosen for point in group.points]
        with simlib.pool() as pool:
            list(pool.map(lambda job: run_point(base, job), [(i, *job) for i, job in enumerate(jobs)]))
    for group in chosen:
        group.report()
    failed = sum(1 for g in chosen if g.failed)
    print(f"# {len(jobs)} runs, {sum(g.killed for g in chosen)} of them killed at their point")
    print(f"{len(chosen) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
