# SPDX-License-Identifier: Apache-2.0
"""cc-manager on simulated devices: what an administrator sees for a label, a refusal, a failure, a stop."""

import fcntl
import http.client
import json
import re
import signal
import time

import simlib
from simlib import (DEPLOY, LABEL, MODES, PAUSED, READY, READY_FOR, RETRY, STATE, STATUS, Node, add, closing, finish,
                    free_port, start, tail, test, wait_until)

OPERANDS = ("vfio-manager", "sandbox-validator", "kata-sandbox-device-plugin")


def operands(node):
    labels = node.kube.labels(node.name)
    return {o: labels.get(DEPLOY + o) for o in OPERANDS}


def reasons(node):
    return [e[0] for e in node.kube.events(node.name)]


def requests(node, verb, path=""):
    """The agent's requests of a verb whose path has the text."""
    return [r for r in node.kube.traffic()["items"]
            if r["verb"] == verb and path in r["path"] and r["agent"].startswith("cc-manager")]


def wait_state(node, value, seconds=20, reason=None):
    def check():
        return (node.kube.labels(node.name).get(STATE) == value and
                (reason is None or node.kube.status(node.name).get("reason") == reason))
    wait_until(check, seconds, lambda: f"{STATE}={value} {reason}: {node.kube.labels(node.name)} "
               f"{node.kube.status(node.name)}\n{tail(node.log)}")


def wait_log(node, text, seconds=20):
    wait_until(lambda: node.log.exists() and text in node.log.read_text(), seconds,
               lambda: f"'{text}' in the log: {tail(node.log)}")


def check(condition, *what):
    assert condition, " ".join(str(w) for w in what)


def wait_hardware(node, mode, why="the hardware", seconds=5):
    """gpusim writes down what its devices are in only now and then while a command runs."""
    wait_until(lambda: not node.wrong_hardware(mode), seconds,
               lambda: f"{why}: {node.wrong_hardware(mode)}\n{tail(node.log)}")


def assert_mode(node, mode, **labels):
    wrong = node.wrong_labels(mode, **labels)
    check(not wrong, wrong, tail(node.log))
    wait_hardware(node, mode)


# ---- transitions --------------------------------------------------------------------------------------------------

def every_transition(modes):
    """A walk through all ordered pairs, each mode to itself too."""
    walk = [modes[0]]
    left = {(a, b) for a in modes for b in modes}
    while left:
        here = walk[-1]
        after = next((b for b in (here, *modes) if (here, b) in left), None) or next(a for a, _ in left)
        left.discard((here, after))
        walk.append(after)
    return walk


def transitions(devices, modes, refused=()):
    def run(folder):
        with closing(Node(folder, devices, sim=["--driver=vfio-pci", "--strict"])) as node:
            walk = every_transition(modes)
            node.kube.label({LABEL: walk[0]})
            node.start()
            node.wait_settled(walk[0])
            for mode in walk[1:]:
                node.kube.label({LABEL: mode})
                node.wait_settled(mode)
                assert_mode(node, mode)
                check(set(operands(node).values()) == {"true"}, operands(node))
            for mode in refused:
                node.kube.label({LABEL: mode})
                wait_state(node, "failed", reason="Unsupported")
                check(not node.wrong_hardware(walk[-1]), "a refusal touched devices")
                check(node.kube.labels()[READY] == READY_FOR[walk[-1]], "ready", node.kube.labels())
            check(node.stop() == 0, tail(node.log))
            check(all(d["driver"] == "vfio-pci" for d in node.truth()), "drivers", node.truth())
            return f"{len(walk) - 1} transitions"
    return run


add("transitions_h100", transitions("h100:1", MODES))
add("transitions_8_h100_4_ls10", transitions("h100:8,ls10:4", MODES))
add("transitions_8_b200", transitions("b200:8", ("off", "on", "devtools"), refused=["ppcie"]))
add("transitions_hopper_and_blackwell", transitions("h100:1,b200:1", ("off", "on", "devtools"), refused=["ppcie"]))
add("transitions_beside_no_cc", transitions("h100:1,l40s:1", ("off",), refused=["on", "devtools", "ppcie"]))


@test
def test_no_cc_gpu_is_passed_over(folder):
    with closing(Node(folder, "h100:1,l40s:1", agent=["--unsupported-gpu=skip"])) as node:
        node.kube.label({LABEL: "on"})
        done = node.once()
        check(done.rc == 0, done.err)
        wrong = node.wrong_labels("on") + node.wrong_hardware("on", only=lambda d: d["part"] == "h100")
        check(not wrong, wrong)


@test
def test_zero_gpus(folder):
    with closing(Node(folder, "nic:1")) as node:
        check(node.once().rc == 0, "off without a GPU")
        check(node.kube.labels()[STATE] == "success", node.kube.labels())
        for mode in ("on", "devtools", "ppcie"):
            node.kube.label({LABEL: mode})
            check(node.once().rc == 1, mode)
            labels = node.kube.labels()
            check(labels[STATE] == "failed" and labels[READY] != "true", labels)
            check(node.kube.status()["reason"] == "NoGpu", node.kube.status())
        check(set(operands(node).values()) == {"true"}, operands(node))


# ---- the switch as the cluster sees it ----------------------------------------------------------------------------

@test
def test_requests_of_a_switch(folder):
    with closing(Node(folder)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.traffic_reset()
        node.kube.label({LABEL: "on"})
        node.wait_settled("on")
        wait_until(lambda: requests(node, "create", "/events")[1:], 5, "two events")
        sent = [(r["verb"], r["path"].split("?")[0]) for r in node.kube.traffic()["items"]
                if r["agent"].startswith("cc-manager") and r["verb"] != "watch-end"]
        patches = requests(node, "patch", "/nodes/")
        # a phase that takes longer than 2 s, as on a busy machine, is told of by one patch more
        times = [simlib.timestamp(r["time"]) for r in patches]
        long_phases = int((max(times) - min(times)) / 2)
        check(3 <= len(patches) <= 3 + long_phases and len(sent) <= 8 + long_phases, sent)
        check(all("fieldManager=gpucc" in r["path"] for r in patches), patches)
        check(sorted(reasons(node)) == ["CCModeSwitched", "CCModeSwitching"], node.kube.events())
        node.kube.traffic_reset()
        time.sleep(0.5)
        check(not node.kube.traffic()["items"], "requests while nothing changes", node.kube.traffic()["items"])
        node.stop()
        return f"{len(sent)} requests"


@test
def test_nothing_written_when_nothing_changed(folder):
    with closing(Node(folder)) as node:
        check(node.once().rc == 0, "first")
        before = node.kube.node()["metadata"]["resourceVersion"]
        check(node.once().rc == 0, "second")
        check(node.kube.node()["metadata"]["resourceVersion"] == before, "a patch without a change")


@test
def test_ready_is_empty_during_the_switch(folder):
    with closing(Node(folder, boot_ms=400)) as node:
        node.start()
        node.wait_settled("off")
        wait_until(node.ready_file.exists, 5, "the readiness file while converged")
        node.kube.label({LABEL: "on"})
        wait_until(lambda: node.kube.labels()[READY] == "", 5, "an empty ready label")
        check(not node.ready_file.exists(), "the readiness file during a switch")
        check(node.kube.labels()[STATE] == "success", "the state label stays during a switch")
        status = node.kube.status()
        check(status["phase"] in ("announce", "evict", "switch") and status["wanted"] == "on", status)
        node.wait_settled("on")
        wait_until(node.ready_file.exists, 5, "the readiness file")
        node.stop()
        check(not node.ready_file.exists(), "the readiness file after the end")


@test
def test_annotation(folder):
    with closing(Node(folder, "h100:1,ls10:1")) as node:
        node.kube.label({LABEL: "ppcie"})
        done = node.once()
        check(done.rc == 0, done.err)
        status = node.kube.status()
        check(list(status) == ["wanted", "inForce", "phase", "attempt", "since", "reason", "message", "devices"],
              list(status))
        check(status["wanted"] == status["inForce"] == "ppcie" and status["attempt"] == 1, status)
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["since"]), status["since"])
        kinds = [(d["kind"], d["chip"], d["ccMode"], d["ppcieMode"], d["error"]) for d in status["devices"]]
        check(sorted(kinds) == [("gpu", "gh100", "off", "on", None), ("nvswitch", "ls10", "unsupported", "on", None)],
              kinds)
        check(all(list(d) == ["bdf", "kind", "chip", "name", "ccMode", "ppcieMode", "error"]
                  for d in status["devices"]), status["devices"])


@test
def test_long_phase_is_announced(folder):
    with closing(Node(folder, boot_ms=3000)) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        wait_until(lambda: node.kube.status().get("phase") == "switch", 20, "the phase switch in the annotation")
        node.wait_settled("on")
        node.stop()


@test
def test_state_label_mode(folder):
    with closing(Node(folder, agent=["--state-label=mode"])) as node:
        for mode in ("on", "off"):
            node.kube.label({LABEL: mode})
            check(node.once().rc == 0, mode)
            assert_mode(node, mode, state=mode)
        node.kube.label({LABEL: "nonsense"})
        check(node.once().rc == 1, "nonsense")
        check(node.kube.labels()[STATE] == "failed", node.kube.labels())


@test
def test_default_mode(folder):
    with closing(Node(folder, agent=["--default-cc-mode=on"])) as node:
        check(node.once().rc == 0, "default on")
        assert_mode(node, "on")
        node.kube.label({LABEL: ""})
        check(node.once("--default-cc-mode=devtools").rc == 0, "an empty label is none")
        assert_mode(node, "devtools")
        check(node.once("--default-cc-mode=").rc == 0, "an empty default")
        check(node.kube.status()["wanted"] is None and node.kube.status()["inForce"] == "devtools",
              node.kube.status())
        check(not node.wrong_hardware("devtools"), "hardware is left alone")


# ---- refusals -----------------------------------------------------------------------------------------------------

@test
def test_unknown_mode(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        node.wait_settled("on")
        for wish in ("On", "enabled", "off-", "ON"):
            wish = wish.rstrip("-") + ("x" if wish.endswith("-") else "")
            node.kube.traffic_reset()
            node.kube.label({LABEL: wish})
            wait_until(lambda w=wish: node.kube.status().get("wanted") == w, 10, "the refusal")
            labels, status = node.kube.labels(), node.kube.status()
            check(labels[STATE] == "failed" and labels[READY] == "true", labels)
            check(status["reason"] == "ModeInvalid" and wish in status["message"] and "devtools" in status["message"],
                  status)
            check(len(requests(node, "patch", "/nodes/")) == 1, "one patch", requests(node, "patch"))
        wait_until(lambda: "CCModeInvalid" in reasons(node), 5, "the event")
        check(set(operands(node).values()) == {"true"}, operands(node))
        check(not node.ready_file.exists(), "not converged")
        node.kube.label({LABEL: "on"})
        node.wait_settled("on")
        wait_until(node.ready_file.exists, 5, "converged again")
        node.stop()


@test
def test_host_tee(folder):
    with closing(Node(folder)) as node:
        def once(policy, tee, default="off"):
            return node.once(f"--host-tee={policy}", f"--default-cc-mode={default}", sim=[f"--host-tee={tee}"])
        check(once("warn", "none", "on").rc == 0, "the default counts as off without TEE")
        assert_mode(node, "off")
        node.kube.label({LABEL: "on"})
        check(once("require", "none").rc == 1, "require")
        check(node.kube.status()["reason"] == "HostTeeMissing" and node.kube.labels()[READY] == "false",
              node.kube.status())
        check(not node.wrong_hardware("off"), "refused before any side effect")
        check(once("warn", "none").rc == 0, "warn")
        assert_mode(node, "on", ready="")
        check(any("SEV-SNP" in e[1] for e in node.kube.events()), node.kube.events())
        for tee in ("snp", "tdx"):
            check(once("warn", tee).rc == 0, tee)
            assert_mode(node, "on")
            check(once("warn", "none").rc == 0, "and away again")
            assert_mode(node, "on", ready="")
        check(once("ignore", "none").rc == 0, "ignore")
        assert_mode(node, "on")


@test
def test_lockdown(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        done = node.once(sim=["--lockdown=integrity"])
        check(done.rc == 1, done.err)
        check(node.kube.status()["reason"] == "Lockdown", node.kube.status())
        check(node.kube.labels()[STATE] == "failed" and node.kube.labels()[READY] == "", node.kube.labels())
        check(set(operands(node).values()) == {"true"}, operands(node))


@test
def test_device_in_use(folder):
    """Beside a VM nothing is touched; what this boot's record says is what is reported."""
    with closing(Node(folder, "h100:2", sim=["--driver=vfio-pci"], agent=["--retry-backoff=200ms..400ms"])) as node:
        node.kube.label({LABEL: "on"})
        check(node.once().rc == 0, "on")
        busy = node.truth()[0]["bdf"]
        node.fault(f"held,dev={busy}")
        trace = folder / "trace"
        check(node.once(sim=[f"--trace={trace}"]).rc == 0, "the mode is the recorded one")
        assert_mode(node, "on")
        check(f"{busy} R " not in trace.read_text() and f"{busy} W " not in trace.read_text(), "it was touched")
        node.kube.label({LABEL: "off"})
        node.start()
        wait_state(node, "failed", reason="DeviceInUse")
        status = node.kube.status()
        check(busy in status["message"] and "open" in status["message"], status)
        check(node.kube.labels()[READY] == "true", "still what is in force", node.kube.labels())
        check(not node.wrong_hardware("on"), "nothing was switched")
        check(set(operands(node).values()) == {"true"}, operands(node))
        node.fault_clear()
        node.wait_settled("off")
        assert_mode(node, "off")
        node.stop()


@test
def test_device_in_use_without_a_record(folder):
    with closing(Node(folder, "h100:1", sim=["--driver=vfio-pci"])) as node:
        node.kube.label({LABEL: "on"})
        node.once(sim=["--fault=held"])
        status = node.kube.status()
        check(status["inForce"] == "unknown" and status["devices"][0]["ccMode"] == "unknown", status)
        check(node.kube.labels()[READY] == "" and node.kube.labels()[STATE] == "failed", node.kube.labels())


@test
def test_device_lock_is_heeded(folder):
    """Whoever works on a device holds its lock; that is waited for a while, then the device counts as in use."""
    with closing(Node(folder, "h100:2")) as node:
        check(node.once().rc == 0, "off")
        locks = sorted(node.agent_state.glob("0000:*.lock"))
        check(len(locks) == 2, locks)
        with open(locks[0]) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            node.kube.label({LABEL: "on"})
            node.start()
            wait_log(node, "waiting for a device's lock")
            check(not node.wrong_hardware("off"), "the lock was not heeded")
            wait_state(node, "failed", reason="DeviceInUse")
            check(node.kube.labels()[READY] == "false" and locks[0].stem in node.kube.status()["message"],
                  node.kube.status())
        node.kube.annotate({RETRY: "now"})
        node.wait_settled("on")
        node.stop()


@test
def test_devices_are_let_go_while_the_api_is_away(folder):
    with closing(Node(folder)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({LABEL: "on"})
        node.kube.fault("status:503,verb=patch,skip=1,count=all")
        wait_log(node, "trying again", 40)
        lock = next(node.agent_state.glob("0000:*.lock"))
        check(simlib.run(["flock", "-n", lock, "true"]).rc == 0, "a device is locked while nothing is done to it")
        node.kube.fault_clear()
        node.wait_settled("on", 60)
        node.stop()


@test
def test_busy_policy_wait(folder):
    with closing(Node(folder, "h100:1", sim=["--driver=vfio-pci"], agent=["--busy-policy=wait"])) as node:
        node.kube.label({LABEL: "off"})
        node.start()
        node.wait_settled("off")
        node.fault("held")
        node.kube.label({LABEL: "on"})
        wait_until(lambda: node.kube.status().get("reason") == "DeviceInUse", 10, "waiting")
        labels = node.kube.labels()
        check(labels[STATE] == "success" and labels[READY] == "false", labels)
        check(set(operands(node).values()) == {"true"}, operands(node))
        node.fault_clear()
        node.wait_settled("on")
        node.stop()


def user_pod(name, resource="nvidia.com/pgpu"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "vm", "image": "vm", "resources": {"limits": {resource: "1"}, "requests": {resource: "1"}}}]}}


@test
def test_busy_policy_drain(folder):
    with closing(Node(folder, "h100:1", sim=["--driver=vfio-pci"], agent=["--busy-policy=drain"])) as node:
        node.start()
        node.wait_settled("off")
        for pod in (user_pod("vm"), user_pod("web", "cpu")):
            node.kube.request("POST", "/api/v1/namespaces/default/pods", pod, "application/json")

        def pods():
            items = node.kube.request("GET", "/api/v1/namespaces/default/pods")["items"]
            return {p["metadata"]["name"] for p in items}
        node.fault("held")
        node.kube.label({LABEL: "on"})
        wait_until(lambda: pods() == {"web"}, 10, lambda: f"the VM's pod is evicted: {pods()} {tail(node.log)}")
        check(not node.wrong_hardware("off"), "switched while somebody still held the device")
        node.fault_clear()
        node.wait_settled("on")
        assert_mode(node, "on")
        check(pods() == {"web"}, "other pods stay")
        check(requests(node, "create", "/eviction") or requests(node, "evict", "/eviction"),
              [r["path"] for r in node.kube.traffic()["items"]])
        node.stop()


@test
def test_busy_policy_drain_gives_up(folder):
    with closing(Node(folder, "h100:1", sim=["--driver=vfio-pci"],
                      agent=["--busy-policy=drain", "--evict-timeout=500ms"])) as node:
        check(node.once().rc == 0, "off")
        node.kube.label({LABEL: "on"})
        check(node.once(sim=["--fault=held"]).rc == 1, "still held")
        status = node.kube.status()
        check("in use" in status["message"] and status["inForce"] == "off", status)
        check(set(operands(node).values()) == {"true"}, operands(node))
        check(not node.wrong_hardware("off"), "switched a device in use")


@test
def test_refusal_gives_operands_back(folder):
    """Whoever died after the pause: a wish that is refused now must not keep the operands away."""
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "nonsense", DEPLOY + "vfio-manager": PAUSED})
        check(node.once().rc == 1, "refused")
        check(operands(node)["vfio-manager"] == "true", operands(node))


@test
def test_refusal_puts_staged_knobs_back(folder):
    """Whoever died after staging: also when what is wanted now is a mode that the chip does not have."""
    with closing(Node(folder, "b200:1", labels={LABEL: "ppcie"}, sim=["--knob=8=1"])) as node:
        check(node.once().rc == 1, "refused")
        status = node.kube.status()
        check("B200 has no ppcie mode" in status["message"] and status["inForce"] == "off", status)
        check([d["error"] for d in status["devices"]] == [None], status)
        check([d["stagedUnapplied"] for d in node.truth()] == [False], node.truth())


# ---- operands -----------------------------------------------------------------------------------------------------

@test
def test_users_own_deploy_values_survive(folder):
    own = {DEPLOY + "sandbox-validator": "false", DEPLOY + "kata-sandbox-device-plugin": "canary"}
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on", **own, DEPLOY + "vgpu-manager": None})
        seen = set(node.kube.labels())
        check(node.once().rc == 0, "on")
        labels = node.kube.labels()
        check({k: labels[k] for k in own} == own, labels)
        check(labels[DEPLOY + "vfio-manager"] == "true", labels)
        check({k for k in set(labels) - seen if k.startswith(DEPLOY)} == set(), "a key was created", labels)


@test
def test_left_over_pause_is_undone(folder):
    with closing(Node(folder)) as node:
        check(node.once().rc == 0, "off")
        node.kube.label({DEPLOY + "vfio-manager": PAUSED, DEPLOY + "sandbox-validator": f"true_{PAUSED}",
                         DEPLOY + "kata-sandbox-device-plugin": f"my_value_{PAUSED}"})
        check(node.once().rc == 0, "nothing to switch")
        check(operands(node) == {"vfio-manager": "true", "sandbox-validator": "true",
                                 "kata-sandbox-device-plugin": "my_value"}, operands(node))


@test
def test_pause_while_running_is_undone(folder):
    with closing(Node(folder)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({DEPLOY + "vfio-manager": PAUSED})
        wait_until(lambda: operands(node)["vfio-manager"] == "true", 10, "unpaused")
        node.stop()


@test
def test_user_changes_a_paused_operand(folder):
    """What the user writes during the switch counts, not what was there before."""
    with closing(Node(folder, boot_ms=600)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({LABEL: "on"})
        wait_until(lambda: operands(node)["sandbox-validator"] == PAUSED, 10, "the pause")
        node.kube.label({DEPLOY + "sandbox-validator": "false", DEPLOY + "vfio-manager": None})
        node.wait_settled("on")
        labels = node.kube.labels()
        check(labels[DEPLOY + "sandbox-validator"] == "false", labels)
        check(labels.get(DEPLOY + "vfio-manager") is None, labels)
        check(labels[DEPLOY + "kata-sandbox-device-plugin"] == "true", labels)
        node.stop()


@test
def test_restore_meets_a_conflict(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        node.kube.fault("status:409,verb=patch,path=/nodes/,count=2")
        check(node.once().rc == 0, "on")
        assert_mode(node, "on")
        check(set(operands(node).values()) == {"true"}, operands(node))


@test
def test_evict_timeout(folder):
    with closing(Node(folder, kube=["--operator-stuck=sandbox-validator"],
                      agent=["--evict-timeout=400ms", "--retry-backoff=2s..3s"])) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        wait_state(node, "failed")
        status = node.kube.status()
        check(status["phase"] == "evict" and "nvidia-sandbox-validator" in status["message"], status)
        check(set(operands(node).values()) == {"true"}, operands(node))
        check(not node.wrong_hardware("off"), "nothing was switched")
        check(node.kube.labels()[READY] == "false", "what is in force", node.kube.labels())
        wait_until(lambda: node.kube.status()["attempt"] > 1, 10, "another attempt")
        check("CCModeSwitchFailed" in reasons(node), node.kube.events())
        node.kube.control("POST", "stick?operand=sandbox-validator&on=false")
        node.wait_settled("on")
        node.stop()


@test
def test_no_eviction(folder):
    with closing(Node(folder, agent=["--evict-operator-components=false"])) as node:
        node.kube.label({LABEL: "on"})
        before = node.kube.pods()
        check(node.once().rc == 0, "on")
        check(not requests(node, "list", "/pods") and node.kube.pods() == before, "operands were bothered")


@test
def test_missing_pod_is_told(folder):
    with closing(Node(folder, operands=False, labels={DEPLOY + "vfio-manager": "true"})) as node:
        node.kube.label({LABEL: "on"})
        check(node.once().rc == 0, "on")
        check(any(r == "CCModeSwitching" and "vfio-manager" in m for r, m, _ in node.kube.events()),
              node.kube.events())


# ---- changes midway -----------------------------------------------------------------------------------------------

@test
def test_newest_label_wins(folder):
    with closing(Node(folder, boot_ms=500)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({LABEL: "on"})
        wait_log(node, "phase=switch")
        for mode in ("ppcie", "off", "devtools"):
            node.kube.label({LABEL: mode})
        node.wait_settled("devtools")
        assert_mode(node, "devtools")
        check(node.log.read_text().count("phase=switch") == 2, "each label was applied", tail(node.log, 40))
        node.stop()


@test
def test_retry_annotation_acts_at_once(folder):
    with closing(Node(folder, agent=["--retry-backoff=1h..2h"])) as node:
        node.kube.label({LABEL: "on"})
        node.start(sim=["--fault=reset-errno=EBUSY,count=1"])
        wait_state(node, "failed")
        check(set(operands(node).values()) == {"true"}, operands(node))
        check("0000:" in node.kube.status()["message"], node.kube.status())
        node.kube.annotate({RETRY: "1"})
        node.wait_settled("on")
        node.stop()


@test
def test_labels_of_others_hands_are_put_right(folder):
    with closing(Node(folder)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({STATE: "failed", READY: "true"})
        node.wait_settled("off")
        node.kube.annotate({STATUS: None})
        wait_until(lambda: node.kube.status().get("inForce") == "off", 10, "the annotation is back")
        node.stop()


@test
def test_node_is_made_anew(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        node.wait_settled("on")
        node.kube.request("DELETE", "/api/v1/nodes/n1")
        wait_log(node, "the node is not there")
        node.kube.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": "n1", "labels": {LABEL: "on"}}}, "application/json")
        node.wait_settled("on")
        node.stop()


# ---- the API server is away ---------------------------------------------------------------------------------------

@test
def test_api_is_away_at_the_start(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        node.kube.fault("outage,count=all")
        node.start()
        wait_log(node, "the API server is away")
        time.sleep(0.5)
        check(node.process.poll() is None, "it ended")
        check(not node.wrong_hardware("off"), "it acted on a guess")
        node.kube.fault_clear()
        node.wait_settled("on")
        node.stop()


@test
def test_api_goes_away_in_the_middle(folder):
    with closing(Node(folder, boot_ms=400)) as node:
        node.start()
        node.wait_settled("off")
        node.kube.label({LABEL: "on"})
        wait_log(node, "phase=switch")
        node.kube.fault("outage,count=all", "drop-watches")
        wait_until(lambda: not node.wrong_hardware("on"), 20, "the switch goes on")
        time.sleep(1)
        node.kube.fault_clear()
        node.wait_settled("on")
        check(set(operands(node).values()) == {"true"}, operands(node))
        node.stop()


@test
def test_denied_patches(folder):
    """A server that says no is told about in the log, and tried again; nothing was touched."""
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        node.kube.fault("status:403,verb=patch,count=all")
        node.start()
        wait_log(node, "403", 10)
        check(not node.wrong_hardware("off"), "switched without announcing it")
        node.kube.fault_clear()
        node.wait_settled("on", 60)
        node.stop()


# ---- starting and stopping ----------------------------------------------------------------------------------------

def stop_quickly(node):
    begin = time.monotonic()
    rc = node.stop()
    took = time.monotonic() - begin
    check(rc == 0 and took < 10, f"exit {rc} after {took:.1f} s", tail(node.log))
    return f"{took:.2f} s"


@test
def test_sigterm_when_idle(folder):
    with closing(Node(folder)) as node:
        node.start()
        node.wait_settled("off")
        return stop_quickly(node)


@test
def test_sigterm_before_the_first_list(folder):
    with closing(Node(folder)) as node:
        node.kube.fault("outage,count=all")
        node.start()
        wait_log(node, "the API server is away")
        return stop_quickly(node)


@test
def test_bad_kubeconfig(folder):
    with closing(Node(folder)) as node:
        for text, words in (("apiVersion: v1\nclusters: [\n", "kubeconfig:"), ("", "kubeconfig"),
                            ("users:\n- name: u\n  user: {exec: {command: x}}\n", "kubeconfig")):
            node.kube.kubeconfig.write_text(text)
            done = node.once()
            check(done.rc == 1 and words in done.err and done.err.count("ERROR") == 1, text, done.rc, done.err)


@test
def test_sigterm_during_eviction(folder):
    with closing(Node(folder, kube=["--operator-stuck=sandbox-validator"])) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        wait_log(node, "phase=evict")
        note = stop_quickly(node)
        check(set(operands(node).values()) == {"true"}, operands(node))
        check(node.kube.labels()[READY] == "false", "what is in force", node.kube.labels())
        return note


@test
def test_sigterm_during_switch(folder):
    with closing(Node(folder, "h100:2", boot_ms=2000, sim=["--driver=vfio-pci"])) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        wait_log(node, "phase=switch")
        time.sleep(0.3)
        note = stop_quickly(node)
        node.boot_ms = 10
        check(node.once().rc == 0, "the next start goes on")
        assert_mode(node, "on")
        check(all(d["driver"] == "vfio-pci" for d in node.truth()), node.truth())
        check(set(operands(node).values()) == {"true"}, operands(node))
        return note


@test
def test_second_instance_waits(folder):
    with closing(Node(folder)) as node:
        first, second = free_port(), free_port()
        node.start(f"--metrics-address=127.0.0.1:{first}")
        node.wait_settled("off")
        log = folder / "second.log"
        machine = [simlib.SIM_BIN / "gpusim", "run", "--devices=h100:1", "--"]
        other = start([*machine, *node.command(f"--metrics-address=127.0.0.1:{second}")], log)
        wait_until(lambda: log.exists() and "another cc-manager" in log.read_text(), 10, lambda: tail(log))
        check(http_get(second, "/readyz")[0] == 503, "the second is ready")
        check(http_get(second, "/healthz")[0] == 200, "the second is alive")
        wait_until(lambda: node.ready_file.exists(), 5, "the readiness file")
        check(node.ready_file.exists(), "the second took the first's readiness file away")
        node.stop()
        wait_until(lambda: http_get(second, "/readyz")[0] == 200, 10, lambda: tail(log))
        check(finish(other) == 0, tail(log))


@test
def test_once(folder):
    with closing(Node(folder)) as node:
        node.kube.label({LABEL: "on"})
        check(node.once().rc == 0 and node.ready_file.exists(), "converged")
        node.kube.label({LABEL: "nonsense"})
        check(node.once().rc == 1 and not node.ready_file.exists(), "not converged")


@test
def test_usage(folder):
    def run(*options, env=None):
        return simlib.run([simlib.BIN / "cc-manager", *options], env=env or {})
    for options, words in (
            ([], "--node-name"), (["--node-name=n", "--default-cc-mode=On"], "devtools"),
            (["--node-name="], "--node-name"), (["--node-name=n", "--busy-policy=kill"], "drain"),
            (["--node-name=n", "--retry-backoff=5m..10s"], "10s..5m"),
            (["--node-name=n", "--device-ids=h100"], "--device-ids"),
            (["--node-name=n", "--metrics-address=9402"], "127.0.0.1:9402"),
            (["--node-name=n", "--evict-timeout=soon"], "10m"),
            (["--node-name=n", "--resync=0s"], "--resync"),
            (["--node-name=n", "more"], "more"), (["--colour"], "--colour")):
        done = run(*options)
        check(done.rc == 2 and words in done.err and done.err.count("\n") == 1, options, done.rc, done.err)
    done = run(env={"NODE_NAME": "n", "CC_CAPABLE_DEVICE_IDS": "0x2331,nope"})
    check(done.rc == 2 and "CC_CAPABLE_DEVICE_IDS" in done.err, done.err)
    done = run("--help")
    check(done.rc == 0 and "NODE_NAME" in done.out and not done.err, done.err)
    check(re.match(r"cc-manager \S+ \S+\n$", run("--version").out), run("--version").out)


@test
def test_dry_run(folder):
    with closing(Node(folder, "h100:1,ls10:1", sim=["--driver=vfio-pci"])) as node:
        node.kube.label({LABEL: "ppcie"})
        before = node.kube.node()["metadata"]["resourceVersion"], node.truth() if node.state.exists() else None
        done = node.once("--dry-run")
        check(done.rc == 0, done.err)
        check("plan: switch" in done.out and "pause vfio-manager" in done.out, done.out)
        plan = node.once("--dry-run", "-o", "json").json()
        check(plan["plan"] == "switch" and plan["wanted"] == "ppcie" and plan["inForce"] == "off", plan)
        check([d["action"] for d in plan["devices"]] == ["switch", "switch"], plan)
        check(sorted(plan["pause"]) == sorted(OPERANDS), plan)
        check(node.kube.node()["metadata"]["resourceVersion"] == before[0], "it wrote to the API server")
        check(not node.wrong_hardware("off") and not node.ready_file.exists(), "it changed something")
        node.kube.label({LABEL: "nonsense"})
        done = node.once("--dry-run", "-o", "json")
        check(done.rc == 1 and done.json()["plan"] == "refuse" and "nonsense" in done.json()["message"], done.out)


# ---- metrics ------------------------------------------------------------------------------------------------------

def http_get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError as e:
        return 0, str(e)
    finally:
        connection.close()


@test
def test_metrics(folder):
    port = free_port()
    with closing(Node(folder, agent=[f"--metrics-address=127.0.0.1:{port}"])) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        node.wait_settled("on")
        wait_until(lambda: http_get(port, "/readyz")[0] == 200, 5, "ready")
        status, text = http_get(port, "/metrics")
        check(status == 200, status)
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        bdf = node.truth()[0]["bdf"]
        for key, value in {
                f'gpucc_cc_mode{{bdf="{bdf}",mode="on"}}': "1", f'gpucc_cc_mode{{bdf="{bdf}",mode="off"}}': "0",
                'gpucc_cc_wanted{mode="on"}': "1", 'gpucc_cc_phase{phase="idle"}': "1",
                'gpucc_cc_switches_total{result="success"}': "1", "gpucc_cc_switch_seconds_count": "1",
                "gpucc_cc_paused_operands": "0", 'gpucc_kube_requests_total{verb="patch",code="200"}': "3"}.items():
            check(values.get(key) == value, key, values.get(key))
        check("gpucc_kube_watch_restarts_total" in text and "gpucc_build_info{version=" in text, text)
        check(http_get(port, "/healthz") == (200, "ok\n"), "healthz")
        check(http_get(port, "/else")[0] == 404 and http_get(port, "/metrics", "POST")[0] == 405, "odd requests")
        node.kube.label({LABEL: "nonsense"})
        wait_state(node, "failed")
        wait_until(lambda: http_get(port, "/readyz")[0] == 503, 5, "not ready")
        node.stop()


@test
def test_metrics_survive_rude_clients(folder):
    import socket
    port = free_port()
    with closing(Node(folder, agent=[f"--metrics-address=127.0.0.1:{port}"])) as node:
        node.start()
        node.wait_settled("off")
        rude = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
        for i, s in enumerate(rude):
            s.sendall([b"GET", b"\r\n\r\n", b"x" * 9000, b"GET /metrics HTTP/1.1\r\n"][i % 4])
        time.sleep(0.2)
        for s in rude:
            s.close()
        wait_until(lambda: http_get(port, "/metrics")[0] == 200, 10, "an answer after rude clients")
        node.stop()


@test
def test_json_log(folder):
    with closing(Node(folder, agent=["--log-format=json"])) as node:
        node.kube.label({LABEL: "on"})
        done = node.once()
        lines = [json.loads(line) for line in done.err.splitlines()]
        phases = [e["phase"] for e in lines if e["msg"] == "phase"]
        check(phases == ["plan", "announce", "evict", "switch", "verify", "restore", "report"], phases)
        check(all({"node", "mode", "phase", "attempt"} <= set(e) for e in lines if e["msg"] == "phase"), lines)
        check(any(e["msg"] == "device" and e["cc"] == "on" for e in lines), lines)


@test
def test_failed_attempt_logs_one_error(folder):
    with closing(Node(folder, agent=["--log-format=json"])) as node:
        node.kube.label({LABEL: "on"})
        done = node.once(sim=["--fault=mode-sticks"])
        check(done.rc == 1, done.err)
        errors = [json.loads(line) for line in done.err.splitlines() if '"level":"error"' in line]
        check(len(errors) == 1 and "0000:" in errors[0]["error"], errors)
        check(set(operands(node).values()) == {"true"}, operands(node))
        check(node.kube.status()["devices"][0]["error"], node.kube.status())


@test
def test_signal_as_pid_1(folder):
    """In a PID namespace of its own, where a signal without a handler is ignored."""
    with closing(Node(folder)) as node:
        argv = ["unshare", "--pid", "--fork", "--kill-child=KILL", *node.command()]
        process = start([*node.gpusim(), *argv], node.log)
        node.process = process
        node.wait_settled("off")
        inner = simlib.run(["pgrep", "-f", f"cc-manager --node-name=n1 --kubeconfig={node.kube.kubeconfig}"]).out
        pids = [int(p) for p in inner.split() if open(f"/proc/{p}/comm").read().strip() == "cc-manager"]
        check(len(pids) == 1, "the agent's pid", inner)
        import os
        os.kill(pids[0], signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, 10, lambda: tail(node.log))
        check(process.returncode == 0, process.returncode, tail(node.log))


if __name__ == "__main__":
    simlib.main()
