# SPDX-License-Identifier: Apache-2.0
"""Many cc-manager processes against one API server: what grows with the cluster. GPUCC_E2E_AGENTS says how many."""

import concurrent.futures
import datetime
import json
import os
import signal
import time

from agent import Agent, elapsed, memory_kb
from e2e import MODE, READY, STATE, STATUS, test
from simlib import READY_FOR, wait_until


def converged(t, mode):
    """How many of the scale run's nodes have a mode in force and verified."""
    count = 0
    for node in t.cluster.request("GET", "/api/v1/nodes?labelSelector=example.com/scale")["items"]:
        labels, notes = node["metadata"]["labels"], node["metadata"].get("annotations", {})
        count += (labels.get(STATE) == "success" and labels.get(READY) == READY_FOR[mode]
                  and json.loads(notes.get(STATUS, "{}")).get("inForce") == mode)
    return count


def wait_converged(t, mode, wanted, seconds):
    """Returns the seconds after which half, 99 in 100 and all nodes had the mode."""
    begin = time.monotonic()
    marks = {}

    def check():
        count = converged(t, mode)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("all", 1.0)):
            if count >= share * wanted:
                marks.setdefault(name, elapsed(begin))
        return count == wanted
    wait_until(check, seconds, f"{wanted} nodes {mode}; {converged(t, mode)} are", every=0.2)
    return ", ".join(f"{k} {v:.1f} s" for k, v in marks.items())


def audit_time(entry):
    return datetime.datetime.fromisoformat(entry["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()


def scale_requests(t, skip):
    nodes = 0
    for entry in t.cluster.audit(skip):
        node = entry.get("user", {}).get("extra", {}).get("authentication.kubernetes.io/node-name", [""])[0]
        nodes += node.startswith("scale-") and (entry["stage"] == "ResponseComplete") != (entry["verb"] == "watch")
    return nodes


def reconnects(t, skip):
    """After how many seconds, from the first of them on, each node's first watch began."""
    first = {}
    for entry in t.cluster.audit(skip):
        if entry["verb"] == "watch" and entry["stage"] == "ResponseStarted" and \
                entry["objectRef"]["resource"] == "nodes" and entry["responseStatus"]["code"] == 200:
            node = entry["user"].get("extra", {}).get("authentication.kubernetes.io/node-name", [""])[0]
            if node.startswith("scale-"):
                first.setdefault(node, audit_time(entry))
    begin = min(first.values(), default=0)
    return sorted(v - begin for v in first.values())


@test(alone=True)
def test_scale(t):
    count = int(os.environ.get("GPUCC_E2E_AGENTS", "50"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        agents = list(pool.map(lambda n: Agent(t, f"scale-{n:03}", "h100:1", labels={"example.com/scale": "yes"}),
                               range(count)))
    begin = time.monotonic()
    for agent in agents:
        agent.start()
    wait_converged(t, "off", count, 60 + count)
    print(f"# {count} agents started and converged in {elapsed(begin):.1f} s", flush=True)

    for mode in ("on", "off"):
        skip, begin = len(t.cluster.audit()), time.monotonic()
        t.cluster.kubectl("label", "nodes", "-l", "example.com/scale", "--overwrite", f"{MODE}={mode}", seconds=300)
        labelled = elapsed(begin)
        marks = wait_converged(t, mode, count, 60 + count)
        took, requests = elapsed(begin), scale_requests(t, skip)
        print(f"# to {mode}: kubectl took {labelled:.1f} s, after it {marks}; {requests} requests, "
              f"{requests / count:.1f} per switch, {requests / took:.0f}/s", flush=True)
        assert requests <= 8.5 * count, f"{requests} requests for {count} switches"

    pids = [agent.pid() for agent in agents]
    pss, rss = (sum(memory_kb(p, what) for p in pids) / 1024 for what in ("Pss", "Rss"))
    server = memory_kb(t.cluster.api_process.pid, "Rss") / 1024
    print(f"# {count} agents: PSS {pss:.0f} MiB ({pss / count:.2f} each), RSS {rss:.0f} MiB; "
          f"API server RSS {server:.0f} MiB", flush=True)

    skip = len(t.cluster.audit())
    t.cluster.stop_api(signal.SIGKILL)
    time.sleep(2)
    t.cluster.start_api()
    wait_until(lambda: len(reconnects(t, skip)) == count, 150, "all agents watch again", every=1)
    times = reconnects(t, skip)
    buckets = [sum(1 for v in times if n <= v < n + 1) for n in range(int(times[-1]) + 1)]
    print(f"# watches after a restart of the server: {times[len(times) // 2]:.1f} s half, {times[-1]:.1f} s all; "
          f"per second {buckets}", flush=True)
    assert count < 20 or max(buckets) <= 0.6 * count, "reconnects come spread out"
    t.cluster.kubectl("label", "nodes", "-l", "example.com/scale", "--overwrite", f"{MODE}=devtools", seconds=300)
    t.note(f"{count} agents, devtools after the restart: {wait_converged(t, 'devtools', count, 60 + count)}")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert not any(pool.map(Agent.stop, agents)), "every agent stops with 0"
