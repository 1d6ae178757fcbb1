# SPDX-License-Identifier: Apache-2.0
"""All four modes from all four modes, on five kinds of machines. The truth comes from the simulator, past all registers;
gpusim --strict counts everything that a correct client must not do to a device.

A row labels the node, waits for the answer, labels it again and waits again, with one cc-manager. What a machine cannot
do has to be refused with a reason that names the device, before anything is touched.
"""

import simlib
from simlib import DEPLOY, LABEL, MODES, READY, STATE, Node, add, closing, wait_until

A100 = "0000:b1:00.0"


class Machine:
    """name, devices; refuses: {mode: words that the reason has to hold}; only: the devices that have to follow;
    ready: what cc.ready.state says whatever is in force"""

    def __init__(self, name, devices, agent=(), refuses=None, only=lambda d: True, ready=None, seconds=120):
        self.name, self.devices, self.agent, self.ready = name, devices, agent, ready
        self.refuses, self.only, self.seconds = refuses or {}, only, seconds


def is_capable(device):
    return device["ccMode"] != "unsupported" or device["ppcieMode"] != "unsupported"


NO_CC = {"on": [A100, "no confidential computing"], "devtools": [A100, "no confidential computing"],
         "ppcie": [A100, "no ppcie"]}
MACHINES = (
    Machine("1 H100", "h100:1"),
    Machine("8 H100 + 4 LS10", "h100:8,ls10:4"),
    Machine("8 B200", "b200:8", refuses={"ppcie": ["ppcie", "B200"]}),
    Machine("2 H100 + 1 A100, fail", f"h100:2,a100:1@{A100}", refuses=NO_CC),
    Machine("2 H100 + 1 A100, skip", f"h100:2,a100:1@{A100}", agent=["--unsupported-gpu=skip"], only=is_capable),
    Machine("no GPU", "nic", only=is_capable, ready="", refuses={mode: ["no NVIDIA GPU"] for mode in ("on", "devtools", "ppcie")}),
)


def resets(node):
    return sum(d["resets"] for d in node.truth())


def ask(node, machine, mode, in_force):
    """Labels the node and waits for the answer; returns the mode in force then."""
    before = resets(node)
    node.kube.label({LABEL: mode})
    if mode not in machine.refuses:
        node.wait_settled(mode, machine.seconds, machine.ready)
        wrong = node.wrong_hardware(mode, machine.only)
        assert not wrong, f"labels say {mode}, but {wrong}"
        return mode

    def answered():
        status = node.kube.status()
        # on a busy machine a phase takes long enough to be told of; the label is then still the last answer's
        return (status.get("wanted") == mode and node.kube.labels().get(STATE) == "failed" and
                all(w in status["message"] for w in machine.refuses[mode]))
    wait_until(answered, machine.seconds, lambda: f"{mode} refused for {machine.refuses[mode]}: "
               f"{node.kube.status()}\n{simlib.tail(node.log)}")
    assert resets(node) == before, f"{mode} is refused, but a device was reset"
    assert node.kube.labels().get(READY) != "true" or in_force in ("on", "ppcie"), "ready, but nothing is in force"
    return in_force


def transition(machine, first, second):
    def row(folder):
        with closing(Node(folder, machine.devices, sim=["--strict"], agent=machine.agent)) as node:
            deployed = {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}
            pods = node.kube.pods()
            node.kube.label({LABEL: first})
            node.start()
            in_force = ask(node, machine, first, "off")
            in_force = ask(node, machine, second, in_force)
            wrong = node.wrong_hardware(in_force, machine.only)
            assert not wrong, f"{in_force} is in force, but {wrong}"
            left = {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}
            assert left == deployed, f"deploy labels were {deployed} and are {left}"
            wait_until(lambda: node.kube.pods() == pods, 10, lambda: f"the operands' pods: {node.kube.pods()}")
            rc = node.stop()
            assert rc == 0, f"exit {rc} (96: a rule was broken): {simlib.tail(node.log, 20)}"
    return row


for machine in MACHINES:
    for first in MODES:
        for second in MODES:
            add(f"{machine.name}: {first} -> {second}", transition(machine, first, second))

if __name__ == "__main__":
    simlib.main()
