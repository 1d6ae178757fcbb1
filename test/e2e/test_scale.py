# SPDX-License-Identifier: Apache-2.0
"""Many cc-manager processes against one API server: what grows with the cluster. GPUCC_E2E_AGENTS says how many."""

import concurrent.futures
import json
import os
import re
import signal
import socket
import time

from agent import Agent, elapsed, memory_kb
from e2e import MODE, READY, STATE, STATUS, test
from simlib import READY_FOR, tail, wait_until

AWAY_S = 12


def converged(t, mode):
    """How many of the scale run's nodes have a mode in force and verified."""
    count = 0
    for node in t.cluster.request("GET", "/api/v1/nodes?labelSelector=example.com/scale")["items"]:
        labels, notes = node["metadata"]["labels"], node["metadata"].get("annotations", {})
        count += (labels.get(STATE) == "success" and labels.get(READY) == READY_FOR[mode]
                  and json.loads(notes.get(STATUS, "{}")).get("inForce") == mode)
    return count


def laggards(t, mode):
    """The first few nodes that are not there yet, with what they say."""
    nodes = t.cluster.request("GET", "/api/v1/nodes?labelSelector=example.com/scale")["items"]
    late = [n for n in nodes if n["metadata"]["labels"].get(READY) != READY_FOR[mode]]
    return [(n["metadata"]["name"], n["metadata"]["labels"].get(STATE), n["metadata"].get("annotations"))
            for n in late[:3]]


def wait_converged(t, mode, agents, seconds):
    """Returns the seconds after which half, 99 in 100 and all nodes had the mode."""
    begin, marks, wanted = time.monotonic(), {}, len(agents)

    def check():
        for agent in agents:
            assert agent.process.poll() is None, f"{agent.node} ended: {tail(agent.log)}"
        count = converged(t, mode)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("all", 1.0)):
            if count >= share * wanted:
                marks.setdefault(name, elapsed(begin))
        return count == wanted
    wait_until(check, seconds, lambda: f"{wanted} in {mode}; {converged(t, mode)} are; {laggards(t, mode)}", every=0.2)
    return ", ".join(f"{k} {v:.1f} s" for k, v in marks.items())


def node_of(entry):
    """The scale run's node whose agent made a request, or an empty string."""
    node = entry.get("user", {}).get("extra", {}).get("authentication.kubernetes.io/node-name", [""])[0]
    return node if node.startswith("scale-") else ""


def scale_requests(t, skip):
    return sum(1 for e in t.cluster.audit(skip)
               if node_of(e) and (e["stage"] == "ResponseComplete") != (e["verb"] == "watch"))


def node_watches(t, skip=0):
    return [e for e in t.cluster.audit(skip)
            if node_of(e) and e["verb"] == "watch" and e["stage"] == "ResponseStarted"
            and e["objectRef"]["resource"] == "nodes" and e["responseStatus"]["code"] == 200]


def watch_timeouts(t):
    return [int(re.search(r"timeoutSeconds=(\d+)", e["requestURI"]).group(1)) for e in node_watches(t)]


def watching_again(t, skip):
    return {node_of(e) for e in node_watches(t, skip)}


def attempts_while_away(port, seconds):
    """In the API server's place: accepts connections and closes them; returns when they came, in seconds."""
    begin, times = time.monotonic(), []
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while (left := seconds - elapsed(begin)) > 0:
            listener.settimeout(left)
            try:
                listener.accept()[0].close()
                times.append(elapsed(begin))
            except TimeoutError:
                break
    return times


@test(alone=True)
def test_scale(t):
    count = int(os.environ.get("GPUCC_E2E_AGENTS", "50"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        agents = list(pool.map(lambda n: Agent(t, f"scale-{n:03}", "h100:1", labels={"example.com/scale": "yes"}),
                               range(count)))
    begin = time.monotonic()
    for agent in agents:
        agent.start()
    wait_converged(t, "off", agents, 60 + count)
    print(f"# {count} agents started and converged in {elapsed(begin):.1f} s", flush=True)

    for mode in ("on", "off"):
        skip, begin = len(t.cluster.audit()), time.monotonic()
        t.cluster.kubectl("label", "nodes", "-l", "example.com/scale", "--overwrite", f"{MODE}={mode}", seconds=300)
        labelled = elapsed(begin)
        marks = wait_converged(t, mode, agents, 60 + count)
        took, requests = elapsed(begin), scale_requests(t, skip)
        print(f"# to {mode}: kubectl took {labelled:.1f} s, after it {marks}; {requests} requests, "
              f"{requests / count:.1f} per switch, {requests / took:.0f}/s", flush=True)
        assert requests <= 8.5 * count, f"{requests} requests for {count} switches"

    pids = [agent.pid() for agent in agents]
    pss, rss = (sum(memory_kb(p, what) for p in pids) / 1024 for what in ("Pss", "Rss"))
    server = memory_kb(t.cluster.api_process.pid, "Rss") / 1024
    print(f"# {count} agents: PSS {pss:.0f} MiB ({pss / count:.2f} each), RSS {rss:.0f} MiB; "
          f"API server RSS {server:.0f} MiB", flush=True)

    timeouts = watch_timeouts(t)
    print(f"# watches ask for {min(timeouts)} to {max(timeouts)} s, {len(set(timeouts))} different", flush=True)
    assert count < 20 or max(timeouts) - min(timeouts) > max(timeouts) / 4, "watches that start together end apart"

    skip = len(t.cluster.audit())
    t.cluster.stop_api(signal.SIGKILL)
    attempts = attempts_while_away(t.cluster.port, AWAY_S)
    seconds = [sum(1 for v in attempts if n <= v < n + 1) for n in range(AWAY_S)]
    peak = max(sum(1 for v in attempts if first <= v < first + 0.1) for first in attempts)
    print(f"# connections tried while the server is away, per second: {seconds}; at most {peak} in 100 ms", flush=True)
    assert count < 20 or peak <= count / 2, "attempts come spread out"
    t.cluster.start_api()
    begin = time.monotonic()
    wait_until(lambda: len(watching_again(t, skip)) == count, 150, "all agents watch again", every=0.5)
    print(f"# all {count} watch again {elapsed(begin):.1f} s after the server was back", flush=True)
    t.cluster.kubectl("label", "nodes", "-l", "example.com/scale", "--overwrite", f"{MODE}=devtools", seconds=300)
    t.note(f"{count} agents, devtools after the restart: {wait_converged(t, 'devtools', agents, 60 + count)}")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert not any(pool.map(Agent.stop, agents)), "every agent stops with 0"
