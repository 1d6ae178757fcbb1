# SPDX-License-Identifier: Apache-2.0
"""cc-manager under its node's service account against the real API server, driven by kubectl."""

import json
import os
import shlex
import shutil
import signal
import time

import e2e
from agent import Agent, Proxy, elapsed
from e2e import DEPLOY, MODE, READY, STATE, STATUS, test
from simlib import BIN, finish, start, tail, wait_until

MODES = ["off", "on", "devtools", "ppcie"]
# Each ordered pair of modes once: a closed walk along all twelve edges, starting and ending at off.
ALL_TRANSITIONS = ["on", "devtools", "ppcie", "on", "off", "devtools", "on", "ppcie", "devtools", "off", "ppcie",
                   "off"]
MAX_REQUESTS = 8
# Keys that cc-manager may write; what else a patch holds is a defect even where the server lets it through.
OWN_LABELS = {STATE, READY}


def check_requests(agent, requests, limit=None):
    """Every request was allowed and signed; patches are small merge patches of our keys alone."""
    for entry in requests:
        code = entry["responseStatus"]["code"]
        # The announcement holds only for the node as it was planned for; it is made again when that has changed.
        assert code < 400 or (code == 409 and entry["verb"] == "patch"), f"{entry['verb']} {entry['requestURI']}: {code}"
        assert entry["userAgent"].startswith(("cc-manager/", "gpucc")), entry["userAgent"]
        if entry["verb"] in ("patch", "create"):
            assert "fieldManager=gpucc" in entry["requestURI"], entry["requestURI"]
        if entry["verb"] == "patch" and entry["objectRef"]["resource"] == "nodes":
            body = entry["requestObject"]
            labels = body["metadata"].get("labels", {})
            assert set(body) == {"metadata"} and set(body["metadata"]) <= {"labels", "annotations", "resourceVersion"}, body
            assert all(k in OWN_LABELS or k.startswith(DEPLOY) for k in labels), labels
            assert set(body["metadata"].get("annotations", {})) <= {STATUS}, body
    if limit is not None:
        listed = [f"{e['verb']} {e['requestURI']}" for e in requests]
        assert len(requests) <= limit, f"{len(requests)} requests: {listed}"


@test
def test_all_modes_from_all_modes(t):
    """The twelve transitions between four modes, and the four that change nothing, on an HGX board in small."""
    agent = Agent(t, "transitions", "h100:2,ls10:1").start()
    agent.wait_settled("off")
    slowest = most = 0
    for mode in ALL_TRANSITIONS:
        skip = len(t.cluster.audit())
        begin = time.monotonic()
        agent.set_mode(mode)
        agent.wait_settled(mode)
        slowest = max(slowest, elapsed(begin))
        wait_until(agent.ready_file.exists, 2, "the readiness file while converged")
        wait_until(lambda: t.cluster.events(agent.node, "CCModeSwitched"), 5, "the event CCModeSwitched")
        requests = agent.requests(skip)
        check_requests(agent, requests, MAX_REQUESTS)
        most = max(most, len(requests))
        skip = len(t.cluster.audit())
        t.cluster.label(agent.node, MODE, mode)
        t.cluster.label(agent.node, "example.com/foreign", mode)
        time.sleep(0.2)
        assert not agent.requests(skip), "a label that says what is in force already costs no request"
    assert agent.stop() == 0
    assert not agent.wrong_hardware("off")
    t.note(f"slowest {slowest:.2f} s, at most {most} requests")


@test
def test_every_mode_is_found_after_a_restart(t):
    """A fresh cc-manager reads what is in force and writes nothing where labels and hardware agree."""
    agent = Agent(t, "restarts", "h100:1")
    for mode in MODES:
        agent.set_mode(mode)
        agent.start()
        agent.wait_settled(mode)
        assert agent.stop() == 0
        skip = len(t.cluster.audit())
        agent.start()
        wait_until(lambda: agent.get("/readyz")[0] == 200, 15, "ready again")
        writes = [e for e in agent.requests(skip) if e["verb"] not in ("get", "list", "watch")]
        assert not writes, [(e["verb"], e["requestURI"], e.get("requestObject")) for e in writes]
        assert agent.stop() == 0


@test
def test_unknown_mode(t):
    """A word that is no mode is refused before anything happens, said in labels and an event, and healed."""
    operands = ["vfio-manager", "kata-sandbox-device-plugin"]
    agent = Agent(t, "unknown-mode", operands=operands).start()
    agent.wait_settled("off")
    for word in ("On", "enabled", "on.", "protected"):
        if word == "on.":
            refused = t.cluster.kubectl("label", "node", agent.node, f"{MODE}={word}", "--overwrite", check=False)
            assert refused.rc == 1, "the API server refuses what is no label value"
            continue
        skip = len(t.cluster.audit())
        agent.set_mode(word)
        wait_until(lambda: t.cluster.labels(agent.node)[STATE] == "failed"
                       and t.cluster.status(agent.node).get("wanted") == word, 15, f"{word} is refused")
        status = t.cluster.status(agent.node)
        assert word in status["message"] and status["inForce"] == "off", status
        assert t.cluster.labels(agent.node)[READY] == "false", "off stays in force and verified"
        wait_until(lambda: any(word in e["message"] for e in t.cluster.events(agent.node, "CCModeInvalid")), 10,
                       f"an event CCModeInvalid that names {word}")
        paused = [e for e in agent.requests(skip) if e2e.PAUSED in json.dumps(e.get("requestObject", {}))]
        assert not paused, "operands are left alone"
        wait_until(lambda: not agent.ready_file.exists(), 2, "no readiness file while not converged")
        assert agent.get("/healthz")[0] == 200
    agent.set_mode("on")
    agent.wait_settled("on")


@test
def test_removed_label_is_the_default_mode(t):
    agent = Agent(t, "default-mode", arguments=["--default-cc-mode=devtools"], labels={MODE: "on"}).start()
    agent.wait_settled("on")
    agent.set_mode(None)
    agent.wait_settled("devtools")
    agent.set_mode("off")
    agent.wait_settled("off")
    agent.set_mode("")
    agent.wait_settled("devtools")


@test
def test_operands_leave_and_return(t):
    """Operands are paused before the first write to hardware and restored after; the user's own values survive."""
    operands = ["vfio-manager", "sandbox-validator", "kata-sandbox-device-plugin"]
    agent = Agent(t, "operands-switch", operands=operands, labels={
        DEPLOY + "sandbox-validator": "false", DEPLOY + "vgpu-manager": "custom"}).start()
    agent.wait_settled("off")
    before = t.cluster.labels(agent.node)
    wait_until(lambda: len(t.operator.pods(agent.node)) == 2, 20, "two operands' pods")

    skip = len(t.cluster.audit())
    agent.set_mode("on")
    wait_until(lambda: len(t.operator.pods(agent.node)) == 0, 20, "no operand's pod", every=0.02)
    agent.wait_settled("on")
    wait_until(lambda: len(t.operator.pods(agent.node)) == 2, 20, "the operands' pods are back")
    after = t.cluster.labels(agent.node)
    changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    assert changed == {MODE, READY}, changed
    requests = agent.requests(skip)
    check_requests(agent, requests, MAX_REQUESTS)
    patches = [e["requestObject"]["metadata"].get("labels", {}) for e in requests
               if e["verb"] == "patch" and e["objectRef"]["resource"] == "nodes"]
    assert patches[0].get(READY) == "" and patches[0][DEPLOY + "vfio-manager"] == e2e.PAUSED, patches[0]
    assert all(DEPLOY + "vgpu-manager" not in p and DEPLOY + "sandbox-validator" not in p for p in patches), patches
    reasons = {e["reason"] for e in t.cluster.events(agent.node)}
    assert {"CCModeSwitching", "CCModeSwitched"} <= reasons, reasons
    described = t.cluster.kubectl("describe", "node", agent.node).out
    assert "CCModeSwitched" in described, "kubectl describe shows the event"
    t.note(f"{len(requests)} requests")


@test
def test_operands_of_a_killed_agent(t):
    """Killed at an API request in the middle, restarted: converges, nothing stays paused."""
    operands = ["vfio-manager", "kata-sandbox-device-plugin"]
    agent = Agent(t, "killed", operands=operands)
    agent.start()
    agent.wait_settled("off")
    mode, slowest = "off", 0
    for delay_ms in (0, 30, 100, 200, 400, 700):
        mode = "on" if mode == "off" else "off"
        agent.set_mode(mode)
        time.sleep(delay_ms / 1000)
        agent.stop(signal.SIGKILL)
        begin = time.monotonic()
        agent.start()
        agent.wait_settled(mode, 60)
        slowest = max(slowest, elapsed(begin))
        labels = t.cluster.labels(agent.node)
        assert all(labels[DEPLOY + o] == "true" for o in operands), labels
    t.note(f"6 kills, converged at most {slowest:.1f} s after the restart")


@test
def test_newest_label_wins(t):
    """Labels that change faster than hardware: the last one is in force in the end."""
    agent = Agent(t, "hasty").start()
    agent.wait_settled("off")
    for mode in ("on", "devtools", "off", "devtools", "on", "devtools"):
        agent.set_mode(mode)
    agent.wait_settled("devtools")
    agent.stop()
    assert not agent.wrong_hardware("devtools")


@test
def test_node_without_gpus(t):
    """Off is a success there, any other mode a failure that says why, and it is never ready."""
    agent = Agent(t, "no-gpus", devices="").start()
    agent.wait_settled("off", ready="")
    for mode in ("on", "ppcie"):
        agent.set_mode(mode)
        wait_until(lambda: t.cluster.status(agent.node).get("wanted") == mode, 15, f"{mode} is answered")
        labels = t.cluster.labels(agent.node)
        assert labels[STATE] == "failed" and labels[READY] == "", labels
        assert "no NVIDIA GPU" in t.cluster.status(agent.node)["message"]
        assert agent.process.poll() is None
    agent.set_mode("off")
    agent.wait_settled("off", ready="")


@test
def test_sigterm_and_probes(t):
    agent = Agent(t, "probes").start()
    agent.wait_settled("off")
    assert agent.get("/healthz")[0] == 200 and agent.get("/readyz")[0] == 200
    samples = agent.metrics()
    assert any(k.startswith("gpucc_build_info{") for k in samples), list(samples)[:20]
    assert samples.get('gpucc_cc_wanted{mode="off"}') == 1, samples
    begin = time.monotonic()
    assert agent.stop() == 0
    assert elapsed(begin) < 10
    t.note(f"stopped in {elapsed(begin):.2f} s")


@test
def test_second_instance_waits(t):
    """A second cc-manager on the node waits for the first, is alive but not ready, and takes over."""
    first = Agent(t, "twice")
    second = Agent(t, "twice", beside=first)
    # Both on one simulated machine; the second starts when the file "go" is there, the simulator ends with it.
    go = t.dir / "go"
    script = (f"{shlex.join(map(str, first.command()))} & until [ -e {go} ]; do sleep 0.1; done; "
              f"exec {shlex.join(map(str, second.command()))} >{second.log} 2>&1")
    first.process = start([*first.gpusim(), "sh", "-c", script], first.log)
    first.wait_settled("off")
    skip = len(t.cluster.audit())
    go.touch()
    wait_until(lambda: second.get("/healthz")[0] == 200, 15, "the second one is alive")
    assert second.get("/readyz")[0] == 503 and first.get("/readyz")[0] == 200
    first.set_mode("on")
    first.wait_settled("on")
    switching = [e for e in t.cluster.events("twice", "CCModeSwitching")]
    assert sum(e.get("count", 1) for e in switching) == 1, "one of them switched"
    check_requests(first, first.requests(skip), MAX_REQUESTS)
    assert second.get("/readyz")[0] == 503
    os.kill(first.pid(), signal.SIGTERM)
    wait_until(lambda: not first.pids(), 10, "the first one has ended")
    begin = time.monotonic()
    wait_until(lambda: second.get("/readyz")[0] == 200, 30, "the second one takes over")
    t.note(f"took over in {elapsed(begin):.1f} s")
    second.set_mode("off")
    second.wait_settled("off")
    os.kill(second.pid(), signal.SIGTERM)
    assert first.process.wait(15) == 0


@test
def test_in_cluster_as_the_daemonset_says(t):
    """Arguments and environment of the DaemonSet, the account where a pod has it, paths where a pod has them."""
    agent = Agent(t, "in-cluster")
    root = agent.dir / "host"
    (root / "proc").mkdir(parents=True)
    container = agent.identity.container
    known = {"--host-root=/host": f"--host-root={root}",
             "--metrics-address=0.0.0.0:9402": f"--metrics-address=127.0.0.1:{agent.metrics_port}"}
    arguments = [known.get(a, a) for a in container["args"]]
    assert container["command"] == ["cc-manager"]
    script = ('mount -t tmpfs tmpfs /run && mkdir -p /run/nvidia /run/secrets/kubernetes.io/serviceaccount && '
              'mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount && mount --bind "$2" /run/nvidia && '
              'mount --rbind /proc "$3" && shift 3 && exec "$@"')
    run_nvidia = agent.dir / "run-nvidia"
    run_nvidia.mkdir()
    unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    argv = [*unshare, "sh", "-c", script, "pod", agent.account.dir, run_nvidia, root / "proc",
            *agent.gpusim(), BIN / "cc-manager", *arguments]
    environment = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                   "KUBERNETES_SERVICE_PORT": str(t.cluster.port), **agent.identity.environment()}
    agent.process = start(argv, agent.log, env=environment)

    for mode in ("off", "on"):
        agent.set_mode(mode)
        agent.wait_settled(mode)
    wait_until((run_nvidia / "validations" / ".cc-manager-ctr-ready").exists, 2, "the readiness file")
    assert (run_nvidia / "gpucc").is_dir()
    assert agent.stop() == 0


@test
def test_node_is_deleted_and_comes_back(t):
    agent = Agent(t, "recreated").start()
    agent.wait_settled("off")
    t.cluster.kubectl("delete", "node", agent.node)
    time.sleep(0.5)
    assert agent.process.poll() is None, "cc-manager outlives its node object"
    t.cluster.create_node(agent.node, {MODE: "on"})
    agent.wait_settled("on", 90)


@test
def test_token_rotation(t):
    """The kubelet swaps the token file; the old token ends; no request is ever made with an expired one."""
    agent = Agent(t, "rotation")
    agent.account.write(agent.identity.short_token(12))
    agent.start()
    agent.wait_settled("off")
    agent.account.write(agent.identity.token())
    rejected = unauthorized(t)
    time.sleep(25)  # the old one's 12 s and the 10 s for which the server remembers it
    agent.set_mode("on")
    agent.wait_settled("on")
    mine = [e for e in unauthorized(t)[len(rejected):] if "rotation" in e["requestURI"]]
    assert not mine, f"{len(mine)} requests with an expired token"


@test
def test_expired_token_heals(t):
    """The token ended before its successor came: cc-manager keeps trying, and heals without a restart."""
    proxy = Proxy(t.cluster)
    t.defer(proxy.close)
    agent = Agent(t, "expired", proxy=proxy)
    agent.account.write(agent.identity.short_token(1))
    agent.start()
    agent.wait_settled("off")
    time.sleep(12)
    # The server does not end a watch whose token ended: a cut makes cc-manager ask again.
    proxy.cut()
    proxy.mend()
    wait_until(lambda: [e for e in unauthorized(t) if "expired" in e["requestURI"]], 30, "a request is refused")
    assert agent.process.poll() is None
    agent.set_mode("on")
    agent.account.write(agent.identity.token())
    agent.wait_settled("on", 90)


def unauthorized(t):
    return [e for e in t.cluster.audit() if e.get("responseStatus", {}).get("code") == 401]


@test
def test_one_connection(t):
    """Watch, patches and events share one connection."""
    proxy = Proxy(t.cluster)
    t.defer(proxy.close)
    agent = Agent(t, "one-connection", proxy=proxy, operands=["vfio-manager"]).start()
    for mode in ("off", "on", "devtools"):
        agent.set_mode(mode)
        agent.wait_settled(mode)
    assert proxy.accepted == 1, f"{proxy.accepted} connections"


@test
def test_cut_connection(t):
    """Connections that break in every phase of a switch only cost time."""
    proxy = Proxy(t.cluster)
    t.defer(proxy.close)
    agent = Agent(t, "cut", proxy=proxy, operands=["vfio-manager"]).start()
    agent.wait_settled("off")
    mode = "off"
    for delay_ms in (0, 50, 150, 300, 500, 800):
        mode = "on" if mode == "off" else "off"
        agent.set_mode(mode)
        time.sleep(delay_ms / 1000)
        proxy.cut()
        time.sleep(0.5)
        proxy.mend()
        agent.wait_settled(mode, 90)
        assert t.cluster.labels(agent.node)[DEPLOY + "vfio-manager"] == "true"


@test(alone=True)
def test_api_server_restarts_during_a_switch(t):
    """The server is killed or stopped at several moments of a switch and comes back later."""
    operands = ["vfio-manager", "kata-sandbox-device-plugin"]
    agent = Agent(t, "outage", operands=operands, sim=["--boot-ms=400"]).start()
    agent.wait_settled("off")
    mode, slowest, phases = "off", 0, []
    for delay_ms, how in ((0, signal.SIGKILL), (100, signal.SIGKILL), (300, signal.SIGTERM), (600, signal.SIGKILL),
                          (1000, signal.SIGKILL)):
        mode = "on" if mode == "off" else "off"
        agent.set_mode(mode)
        time.sleep(delay_ms / 1000)
        t.cluster.stop_api(how)
        phases.append(agent.phase())
        time.sleep(1)
        t.cluster.start_api()
        begin = time.monotonic()
        agent.wait_settled(mode, 120)
        slowest = max(slowest, elapsed(begin))
        labels = t.cluster.labels(agent.node)
        assert all(v == "true" for k, v in labels.items() if k.startswith(DEPLOY)), labels
    assert agent.stop() == 0
    assert not agent.wrong_hardware("on")
    t.note(f"outages in {', '.join(phases)}; converged at most {slowest:.1f} s after the server was back")


@test(alone=True)
def test_starts_without_an_api_server(t):
    """cc-manager started while the server is away waits for it."""
    agent = Agent(t, "early", labels={MODE: "on"})
    t.cluster.stop_api()
    agent.start()
    time.sleep(3)
    assert agent.process.poll() is None, tail(agent.log)
    assert agent.get("/readyz")[0] == 503
    t.cluster.start_api()
    agent.wait_settled("on", 90)


@test(alone=True)
def test_watch_expires_by_compaction(t):
    """One of two API servers ends its watches; the other knows no history that old: 410, and a list."""
    first, port = t.cluster.start_another_api()
    t.defer(finish, first)
    proxy = Proxy(t.cluster)
    t.defer(proxy.close)
    proxy.target = ("127.0.0.1", port)
    agent = Agent(t, "expiry", proxy=proxy).start()
    agent.wait_settled("off")
    t.cluster.create_node("expiry-other")
    t.cluster.stop_api()
    t.cluster.compact()
    t.cluster.start_api()

    skip = len(t.cluster.audit())
    proxy.target = ("127.0.0.1", t.cluster.port)
    first.send_signal(signal.SIGTERM)
    wait_until(lambda: agent.metric_sum("gpucc_kube_watch_restarts_total", "gone"), 60, "the watch is answered 410")
    agent.set_mode("on")
    agent.wait_settled("on", 60)
    assert any(e["verb"] == "list" and e["objectRef"]["resource"] == "nodes" for e in agent.requests(skip))
    t.note(", ".join(sorted(k for k, v in agent.metrics().items() if "watch_restarts" in k and v)))


@test(alone=True)
def test_cut_watch_lists_again(t):
    """History is compacted while cc-manager is cut off: it lists, and sees the label that was set meanwhile."""
    proxy = Proxy(t.cluster)
    t.defer(proxy.close)
    agent = Agent(t, "cut-off", proxy=proxy).start()
    agent.wait_settled("off")
    proxy.cut()
    agent.set_mode("on")
    t.cluster.stop_api()
    t.cluster.compact()
    t.cluster.start_api()
    proxy.mend()
    agent.wait_settled("on", 90)


@test(alone=True)
def test_etcd_restored_from_a_backup(t):
    """Versions go backwards: what cc-manager watched from lies in the future of the restored server."""
    agent = Agent(t, "restored").start()
    agent.wait_settled("off")
    data, backup = t.cluster.dir / "etcd", t.dir / "backup"
    t.cluster.stop_api()
    t.cluster.stop_etcd()
    shutil.copytree(data, backup)
    t.cluster.start_etcd()
    t.cluster.start_api()
    agent.set_mode("on")
    agent.wait_settled("on", 60)
    for n in range(200):
        t.cluster.request("PATCH", f"/api/v1/nodes/{agent.node}", {"metadata": {"labels": {"nvidia.com/n": str(n)}}},
                          kind=e2e.MERGE)
    time.sleep(1)  # the last of them is on its way to the agent

    t.cluster.stop_api()
    t.cluster.stop_etcd()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    t.cluster.start_etcd()
    t.cluster.start_api()
    begin = time.monotonic()
    agent.set_mode("devtools")
    agent.wait_settled("devtools", 120)
    t.note(f"converged {elapsed(begin):.1f} s after the restored server was back")


@test(alone=True)
def test_lost_rights_heal(t):
    """Without its role cc-manager says so and keeps trying; with it, it goes on."""
    agent = Agent(t, "rights").start()
    agent.wait_settled("off")
    binding = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{e2e.AGENT}"
    saved = t.cluster.request("GET", binding)
    t.cluster.request("DELETE", binding)
    try:
        time.sleep(1)  # the authorizer's informer
        agent.set_mode("on")
        wait_until(lambda: "403" in agent.log.read_text() or "orbidden" in agent.log.read_text(), 30,
                       "the log says that the server forbids it")
        assert agent.process.poll() is None
    finally:
        del saved["metadata"]["resourceVersion"], saved["metadata"]["uid"]
        t.cluster.request("POST", binding.rsplit("/", 1)[0], saved)
    agent.wait_settled("on", 120)


def running_pod(t, name, node, resources=None):
    """A pod in "default" that the node's kubelet would report as running and ready."""
    path = "/api/v1/namespaces/default/pods"
    t.cluster.create(path, {"metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "nodeName": node, "containers": [{"name": "c", "image": "none", "resources": {"limits": resources or {}}}]}})
    t.cluster.request("PATCH", f"{path}/{name}/status", kind=e2e.MERGE, body={"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    t.defer(t.cluster.kubectl, "delete", "pod", name, "--ignore-not-found", "--now", "--wait=false")
    return f"{path}/{name}"


@test(alone=True)
def test_drain(t):
    """--busy-policy=drain evicts the pod that has a GPU, and only that; a disruption budget is waited for."""
    rights = e2e.MANIFESTS / "cc-manager" / "drain"
    t.cluster.kubectl("apply", "--server-side", "-f", rights)
    t.defer(t.cluster.kubectl, "delete", "-f", rights)
    agent = Agent(t, "drained", arguments=["--busy-policy=drain"]).start()
    agent.wait_settled("off")
    user = running_pod(t, "gpu-user", agent.node, {"nvidia.com/pgpu": "1"})
    bystander = running_pod(t, "bystander", agent.node)
    agent.fault("add", "held")

    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    t.cluster.create(budgets, {"metadata": {"name": "gpu-user"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "gpu-user"}}}})
    t.defer(t.cluster.kubectl, "delete", "pdb", "gpu-user")

    def allow(disruptions):
        # What the disruption controller would have written.
        t.cluster.request("PATCH", f"{budgets}/gpu-user/status", kind=e2e.MERGE, body={"status": {
            "observedGeneration": 1, "disruptionsAllowed": disruptions, "currentHealthy": 1, "desiredHealthy": 1,
            "expectedPods": 1}})
    allow(0)
    skip = len(t.cluster.audit())
    agent.set_mode("on")

    def evictions():
        return [e["responseStatus"]["code"] for e in agent.requests(skip)
                if e["objectRef"].get("subresource") == "eviction"]
    wait_until(lambda: 429 in evictions(), 30, "the budget refuses the eviction")
    assert "deletionTimestamp" not in t.cluster.request("GET", user)["metadata"]
    allow(1)
    wait_until(lambda: "deletionTimestamp" in t.cluster.request("GET", user)["metadata"], 60, "the pod is evicted")
    agent.fault("clear")
    t.cluster.request("DELETE", user, {"gracePeriodSeconds": 0})
    agent.wait_settled("on", 60)
    assert "deletionTimestamp" not in t.cluster.request("GET", bystander)["metadata"], "the other pod stays"
    t.note(f"evictions answered {evictions()}")
