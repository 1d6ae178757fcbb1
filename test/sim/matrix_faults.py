# SPDX-License-Identifier: Apache-2.0
"""The fault matrix: every fault of the simulated devices in every phase of a switch, and every fault of the API server
at every request of one.

A device that fails has to end in `failed` with a reason that names the device and the cause, with all operands back,
with another attempt after a pause, and in the wanted mode once the fault is gone. What the API server does wrong is
never the end of anything: the agent goes on when it can.
"""

import os
import signal
import time

import simlib
from simlib import DEPLOY, LABEL, READY, STATE, Node, add, closing, wait_until

GOOD, BAD, SWITCH = "0000:41:00.0", "0000:c1:00.0", "0000:c4:00.0"
GPUS = f"h100:1@{GOOD},h100:1@{BAD}"
FABRIC = f"h100:1@{GOOD},ls10:1@{SWITCH}"

# When a fault begins. start: before cc-manager does. idle: it has converged, then the label changes. evict: operands
# are paused and their pods are leaving. write, reset, boot: the simulator begins after the first knob write, at the
# first reset, after the boot that follows it.
PHASES = ("start", "idle", "evict", "write", "reset", "boot")
BEFORE_RESET = ("start", "idle", "evict", "write")

# fault, words of the reason, phases in which it has to be told, seconds until then
DEVICE_FAULTS = (
    ("rpc-error=0x77", ["0x77"], BEFORE_RESET, 60),
    ("no-answer", ["no answer"], BEFORE_RESET, 120),
    ("stuck-queue", ["queue"], BEFORE_RESET, 120),
    ("short-answer", ["answer"], BEFORE_RESET, 60),
    ("long-answer", ["answer"], BEFORE_RESET, 60),
    ("wrong-answer=type", ["answer"], BEFORE_RESET, 60),
    ("wrong-answer=echo", ["answer"], BEFORE_RESET, 60),
    ("wrong-answer=length", ["answer"], BEFORE_RESET, 60),
    ("rpc-slow=7000", ["answer"], BEFORE_RESET, 120),
    ("inband-denied", ["0x1e4"], BEFORE_RESET, 60),
    ("boot-never", ["boot"], BEFORE_RESET + ("reset",), 120),
    ("mode-sticks", ["mode"], BEFORE_RESET + ("reset",), 60),
    ("all-ones", ["all ones"], PHASES, 120),
    ("badf", ["0xbadf1100"], PHASES, 120),
    ("sec-fault", ["security fault"], PHASES, 120),
    ("recovery", ["recovery"], PHASES, 120),
    # Who falls off the bus in the middle is missed; who is not there to begin with, or not any more, is not.
    ("gone", [], ("evict", "write", "reset"), 120),
    ("reset-errno=EBUSY", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("reset-errno=ENOTTY", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("reset-errno=EAGAIN", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("reset-errno=EINVAL", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("reset-errno=EIO", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("reset-errno=ETIMEDOUT", ["reset"], BEFORE_RESET + ("reset",), 60),
    ("held", ["open"], ("start", "idle", "evict"), 60),
    ("rpc-slow=100", [], (), 60),
    ("reset-slow=500", [], (), 60),
)


def deploy_labels(node):
    return {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}


def is_truthful(node):
    """cc.ready.state never claims what is not so."""
    ready = node.kube.labels().get(READY)
    if ready in (None, "") or not node.wrong_hardware("off" if ready == "false" else "on", drivers=False):
        return True
    return node.kube.labels().get(READY) != ready  # the next attempt has begun meanwhile


def failed_status(node, words, device):
    status = node.kube.status()
    text = status.get("message") or ""
    if node.kube.labels().get(STATE) == "failed" and device in text and all(w in text for w in words):
        return status
    return None


def device_row(fault, words, phase, is_told, seconds, devices, device, mode):
    def row(folder):
        options = ["--retry-backoff=200ms..1s", "--resync=2s"]
        with closing(Node(folder, devices, agent=options, leave_ms=400 if phase == "evict" else 5)) as node:
            operands, pods = deploy_labels(node), node.kube.pods()
            spec = f"{fault},dev={device}"
            if phase == "start":
                node.kube.label({LABEL: mode})
                node.start(sim=[f"--fault={spec}"])
            else:
                node.kube.label({LABEL: "off"})
                node.start(sim=[] if phase in ("idle", "evict") else [f"--fault={spec},from={phase}"])
                node.wait_settled("off")
                if phase == "idle":
                    node.fault(spec)
                node.kube.label({LABEL: mode})
            if phase == "evict":
                wait_until(lambda: deploy_labels(node) != operands, 10, "no operand was paused", every=0.005)
                node.fault(spec)
            if not is_told:
                node.wait_settled(mode, seconds)
                node.fault_clear()
                right = lambda: not node.wrong_hardware(mode, drivers=fault != "gone")  # noqa: E731
                wait_until(right, 10, lambda: str(node.wrong_hardware(mode)))
                node.wait_settled(mode, seconds)
            else:
                told_and_healed(node, words, seconds, device, mode, operands, drivers=fault != "gone")
            wait_until(lambda: node.kube.pods() == pods, 10, lambda: f"the operands' pods: {node.kube.pods()}")
            assert deploy_labels(node) == operands, f"deploy labels: {deploy_labels(node)}"
            rc = node.stop()
            assert rc == 0, f"exit {rc}: {simlib.tail(node.log)}"
    return row


def told_and_healed(node, words, seconds, device, mode, operands, drivers):
    """drivers: a device that comes back to the bus has none, and that is not our business"""
    status = wait_until(lambda: failed_status(node, words, device), seconds,
                        lambda: f"failed, naming {device} and {words}: {node.kube.labels().get(STATE)}, "
                        f"{node.kube.status()}\n{simlib.tail(node.log, 25)}")
    assert is_truthful(node), f"{READY} is {node.kube.labels().get(READY)!r}: {node.wrong_hardware('off')}"
    wait_until(lambda: deploy_labels(node) == operands, 10, lambda: f"operands after a failure: {deploy_labels(node)}")
    first = (status["attempt"], status["message"])
    wait_until(lambda: next_attempt(node, first), seconds + 5,
               lambda: f"no second attempt: {node.kube.status()}\n{simlib.tail(node.log)}")
    assert any(e[0] == "CCModeSwitchFailed" for e in node.kube.events()), "no event tells of it"
    node.fault_clear()
    wait_until(lambda: not node.wrong_hardware(mode, drivers=drivers) and node.settled(mode), seconds + 20,
               lambda: f"after the fault is gone: {node.wrong_hardware(mode)} {node.wrong_labels(mode)}\n"
               f"{simlib.tail(node.log)}")


def next_attempt(node, first):
    """The next one has begun; or it has gone well already, with the device that is left."""
    status = node.kube.status()
    return status.get("attempt", 0) > first[0] or status.get("reason") == "Converged"


def worker_dies(phase_ms):
    """A child that does the blocking work dies: an error that names its device, and another attempt."""
    def row(folder):
        with closing(Node(folder, "h100:1", agent=["--retry-backoff=200ms..1s"], boot_ms=600, reset_ms=300)) as node:
            operands = deploy_labels(node)
            node.kube.label({LABEL: "off"})
            node.start()
            node.wait_settled("off")
            agent = next(p for p in simlib.descendants(node.process.pid) if simlib.name_of(p) == "cc-manager")
            node.kube.label({LABEL: "on"})
            wait_until(lambda: node.kube.labels().get(READY) == "", 10, "nothing was announced", every=0.005)
            time.sleep(phase_ms / 1000)
            workers = wait_until(lambda: simlib.descendants(agent)[1:], 5, "no worker was seen", every=0.001)
            os.kill(workers[0], signal.SIGKILL)
            status = wait_until(lambda: failed_status(node, [], "0000:"), 20,
                                lambda: f"never failed: {node.kube.status()}\n{simlib.tail(node.log)}")
            assert is_truthful(node), f"{READY} is {node.kube.labels().get(READY)!r}"
            node.wait_settled("on")
            assert not node.wrong_hardware("on"), node.wrong_hardware("on")
            assert deploy_labels(node) == operands, deploy_labels(node)
            assert node.stop() == 0
            return status["message"]
    return row


# ---- the API server -----------------------------------------------------------------------------------------------

# request, which ones those are, whether it comes before the switch
REQUESTS = (
    ("list of nodes", "verb=list,path=/nodes"),
    ("watch of the node", "verb=watch,path=/nodes"),
    ("announcing patch", "verb=patch,path=/nodes/"),
    ("first event", "verb=create,path=/events"),
    ("list of pods", "verb=list,path=/pods"),
    ("watch of pods", "verb=watch,path=/pods"),
    ("restoring patch", "verb=patch,path=/nodes/,skip=1"),
    ("reporting patch", "verb=patch,path=/nodes/,skip=2"),
)
ONCE = ("status:400", "status:401", "status:403", "status:404", "status:409", "status:410", "status:422",
        "status:429,retry-after=1", "status:500", "status:502", "status:503,retry-after=1", "status:504",
        "reset-before", "reset-after", "reset-applied", "reset-middle", "hang", "hang-applied",
        "slow,bytes=50,ms=20", "half-line", "truncated", "not-json", "huge", "nested", "wrong-types", "close",
        "compact", "drop-watches", "expire-token", "outage,ms=700")
WATCH_ONLY = ("error-event:410", "error-event:500")


SILENT = ("hang-applied", "half-line")  # a watch that was granted, and then nothing


def api_row(action, match):
    def row(folder):
        if action in SILENT and match == "verb=watch,path=/nodes" and not os.environ.get("FAULTS_SLOW"):
            raise simlib.Skip("silence is noticed when the time of the watch is over, minutes later; FAULTS_SLOW=1")
        options = ["--retry-backoff=200ms..1s", "--evict-timeout=10s"]
        with closing(Node(folder, "h100:1", agent=options, leave_ms=60)) as node:
            operands, pods = deploy_labels(node), node.kube.pods()
            node.kube.label({LABEL: "on"})
            node.kube.fault(f"{action},{match},agent=cc-manager")
            begin = time.monotonic()
            node.start()
            if action == "expire-token":
                wait_until(lambda: any(node.kube.fault_hits().values()), 20, "the fault never struck")
                time.sleep(0.3)
                node.kube.control("POST", "rotate-token")
            node.wait_settled("on", 100)
            took = time.monotonic() - begin
            assert any(node.kube.fault_hits().values()), "the fault never struck"
            wrong = node.wrong_hardware("on")
            assert not wrong, wrong
            wait_until(lambda: deploy_labels(node) == operands, 10, lambda: f"deploy labels {deploy_labels(node)}")
            wait_until(lambda: node.kube.pods() == pods, 10, lambda: f"the operands' pods: {node.kube.pods()}")
            node.kube.label({LABEL: "off"})  # the link still works
            node.wait_settled("off", 700)
            rc = node.stop()
            assert rc == 0, f"exit {rc}: {simlib.tail(node.log)}"
            return f"{took:.1f} s"
    return row


# As long as the server refuses, nothing may have been touched that a label does not tell; afterwards all is well.
LASTING = ("status:403", "status:409", "status:429,retry-after=1", "status:500", "reset-before", "not-json")


def lasting_row(action, request, match):
    def row(folder):
        options = ["--retry-backoff=200ms..1s", "--evict-timeout=3s"]
        with closing(Node(folder, "h100:1", agent=options)) as node:
            operands, pods = deploy_labels(node), node.kube.pods()
            node.kube.label({LABEL: "off"})
            node.start()
            node.wait_settled("off")
            node.kube.fault(f"{action},{match},agent=cc-manager,count=all")
            node.kube.label({LABEL: "on"})
            if request == "list of pods":
                wait_until(lambda: node.kube.labels().get(STATE) == "failed", 60,
                           lambda: f"never failed: {node.kube.status()}\n{simlib.tail(node.log)}")
                message = node.kube.status()["message"]
                assert "pods" in message, f"the reason does not name what was refused: {message}"
            else:
                time.sleep(3)
                assert is_truthful(node), f"{READY} is {node.kube.labels().get(READY)!r}: {node.truth()}"
            if request == "announcing patch" and action != "not-json":  # that one is done, only its answer is rubbish
                assert not sum(d["resets"] for d in node.truth()), "reset unannounced"
            node.kube.fault_clear()
            node.wait_settled("on", 100)
            wrong = node.wrong_hardware("on")
            assert not wrong, wrong
            wait_until(lambda: deploy_labels(node) == operands, 10, lambda: f"deploy labels {deploy_labels(node)}")
            wait_until(lambda: node.kube.pods() == pods, 10, lambda: f"the operands' pods: {node.kube.pods()}")
            rc = node.stop()
            assert rc == 0, f"exit {rc}: {simlib.tail(node.log)}"
    return row


for fault, words, told_in, seconds in DEVICE_FAULTS:
    for phase in PHASES:
        add(f"GPU {fault}, {phase}", device_row(fault, words, phase, phase in told_in, seconds, GPUS, BAD, "on"))
    if told_in:
        add(f"NVSwitch {fault}, evict", device_row(fault, words, "evict", "evict" in told_in, seconds, FABRIC,
                                                   SWITCH, "ppcie"))
for phase_ms in (20, 150, 500):
    add(f"worker killed {phase_ms} ms into the switch", worker_dies(phase_ms))
for request, match in REQUESTS:
    for action in ONCE + (WATCH_ONLY if "watch" in match else ()):
        add(f"API {action} at the {request}", api_row(action, match))
for request, match in REQUESTS[2:3] + REQUESTS[4:5] + REQUESTS[6:]:
    for action in LASTING:
        add(f"API {action} at every {request}", lasting_row(action, request, match))

if __name__ == "__main__":
    simlib.main(simlib.JOBS * 2)
