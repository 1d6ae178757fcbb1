# SPDX-License-Identifier: Apache-2.0
"""What make bench prints. Every ratio is measured within one run, so that it means the same on any machine; times that
belong to the simulated hardware or to the operands are known exactly and told apart.
"""

import bisect
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sim"))
import simlib  # noqa: E402
from simlib import BIN, LABEL, Kube, Node, closing  # noqa: E402

CHANGES = 200
UPDATES = 10000
BOOKMARKS_OF_AN_HOUR = 60


def row(what, measured, goal=""):
    print(f"  {what:<66} {measured:>18}   {goal}", flush=True)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def settle(node, mode):
    """Waits closely for a mode; returns when it was there, on the monotonic clock."""
    simlib.wait_until(lambda: node.settled(mode), 60, lambda: f"{mode}: {node.wrong_labels(mode)}", every=0.001)
    return time.monotonic()


def switch(node, mode):
    """Seconds from the label to the answer."""
    begin = time.monotonic()
    node.kube.label({LABEL: mode})
    return settle(node, mode) - begin


def cc_manager(node):
    """The pid of the agent below gpusim."""
    for pid in simlib.descendants(node.process.pid):
        if simlib.name_of(pid) == "cc-manager":
            return pid
    raise AssertionError("no cc-manager")


class Trace:
    """gpusim's trace: when, on the monotonic clock, what was done to the registers."""

    def __init__(self, path):
        self.writes, self.firmware, self.accesses = [], [], 0
        begin = None
        for line in path.read_text().splitlines():
            words = line.split()
            if line.startswith("#"):
                begin = float(words[words.index("monotonic") + 1]) if "monotonic" in words else begin
                continue
            at = begin + float(words[0])
            if words[3] == "W":
                self.writes.append(at)
            elif words[3] == "firmware":
                self.firmware.append(at)
            self.accesses += words[3] in ("R", "W")

    def first_write_after(self, at):
        return self.writes[bisect.bisect_right(self.writes, at)]


# ---- measurements -------------------------------------------------------------------------------------------------

def latency(folder):
    """Label change to the first register write."""
    trace = folder / "trace"
    with closing(Node(folder, "h100:1", operands=False, boot_ms=2, reset_ms=2, sim=[f"--trace={trace}"])) as node:
        node.kube.label({LABEL: "off"})
        node.start()
        settle(node, "off")
        begins = []
        for i in range(CHANGES):
            mode = ("on", "off")[i % 2]
            begins.append(time.monotonic())
            node.kube.label({LABEL: mode})
            settle(node, mode)
        node.stop()
    seen = Trace(trace)
    ms = [(seen.first_write_after(b) - b) * 1000 for b in begins]
    row(f"label change to first register write, p50 of {CHANGES}", f"{statistics.median(ms):.1f} ms")
    row("  p99", f"{percentile(ms, 0.99):.1f} ms")


def many_gpus(folder):
    """Eight GPUs against one, the same boot time."""
    boot, reset = 1500, 100
    took = {}
    for n in (1, 8):
        with closing(Node(folder / str(n), f"h100:{n}", boot_ms=boot, reset_ms=reset)) as node:
            node.kube.label({LABEL: "off"})
            node.start()
            settle(node, "off")
            took[n] = min(switch(node, mode) for mode in ("on", "off", "on"))
            node.stop()
    row("switch of 1 GPU, of which 1.60 s are reset and boot", f"{took[1]:.2f} s")
    row("switch of 8 GPUs, the same boot time", f"{took[8]:.2f} s")
    row("  8 GPUs / 1 GPU", f"{took[8] / took[1]:.2f}", "goal <= 1.3")


def own_time(folder):
    """Label to answer, less what the simulated hardware and the operands take by themselves."""
    boot, reset, leave = 500, 100, 100
    trace = folder / "trace"
    with closing(Node(folder, "h100:1", boot_ms=boot, reset_ms=reset, leave_ms=leave,
                      sim=[f"--trace={trace}"])) as node:
        node.kube.label({LABEL: "off"})
        node.start()
        settle(node, "off")
        begin = time.monotonic()
        took = switch(node, "on")
        end = begin + took
        node.stop()
    seen = Trace(trace)
    commands = sum(1 for at in seen.firmware if begin <= at <= end)
    theirs = (boot + reset + leave + commands) / 1000
    row("label to answer, 1 GPU", f"{took:.3f} s", "NVIDIA's Python manager: 2.75 s")
    row(f"  of it reset, boot, {commands} firmware commands, operands leaving", f"{theirs:.3f} s")
    row("  ours", f"{(took - theirs) * 1000:.0f} ms", "goal <= 100 ms")


def requests(folder):
    """What a switch asks of the API server; the node's watch, which goes on, is left out."""
    with closing(Node(folder, "h100:1")) as node:
        node.kube.label({LABEL: "off"})
        node.start()
        settle(node, "off")
        time.sleep(1)
        node.kube.traffic_reset()
        switch(node, "on")
        time.sleep(1.5)
        traffic = node.kube.traffic()
        node.stop()
    asked = [i for i in traffic["items"] if "cc-manager" in i["agent"] and i["verb"] != "watch-end"]
    row("requests per switch, events included", f"{len(asked)}", "goal <= 8; NVIDIA's Python manager: 11")
    row("  " + ", ".join(f"{i['verb']} {i['path'].split('?')[0].rsplit('/', 1)[-1]}" for i in asked), "")
    row("bytes per switch, sent by cc-manager", f"{traffic['bytesIn']}")
    row("  and by the API server, the watch's lines included", f"{traffic['bytesOut']}")


def memory_kib(pid):
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, number = line.split(":")
        values[key] = int(number.split()[0])
    return values["Pss"], values["Anonymous"]


def cpu_ms(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def idle(folder):
    """Memory and CPU of an agent that has nothing to do but read along."""
    with closing(Node(folder, "h100:8,ls10:4")) as node:
        node.kube.label({LABEL: "on"})
        node.start()
        settle(node, "on")
        time.sleep(1)
        pid = cc_manager(node)
        first = memory_kib(pid)
        node.kube.control("POST", f"bookmarks?count={BOOKMARKS_OF_AN_HOUR}")
        time.sleep(1)
        hour = memory_kib(pid)
        churn(node, 1000)  # so that what is allocated once is there
        node.kube.traffic_reset()
        before = memory_kib(pid)
        cpu = cpu_ms(pid)
        churn(node, UPDATES)
        cpu = cpu_ms(pid) - cpu
        after = memory_kib(pid)
        sent = node.kube.traffic()["bytesOut"]
        node.stop()
    row("memory after a switch of 12 devices, PSS", f"{first[0] / 1024:.2f} MiB", "goal <= 6.5; Python: 63 MB")
    row("  of it anonymous", f"{first[1] / 1024:.2f} MiB", "goal <= 1.5")
    row(f"  growth over an hour's {BOOKMARKS_OF_AN_HOUR} bookmarks, anonymous", f"{hour[1] - first[1]} KiB", "goal 0")
    row(f"  growth over {UPDATES} watch events, anonymous", f"{after[1] - before[1]} KiB", "goal 0")
    row("  PSS and anonymous at the end", f"{after[0] / 1024:.2f}, {after[1] / 1024:.2f} MiB")
    row(f"CPU for {UPDATES} updates of the node by others", f"{cpu:.0f} ms")
    row("  bytes of the watch for them", f"{sent / 1e6:.1f} MB")


def churn(node, count):
    node.kube.control("POST", f"churn?node={node.name}&count={count}&rate=4000")
    simlib.wait_until(lambda: '"done":%d' % count in node.kube.control("GET", "churn").replace(" ", ""), 120,
                      lambda: node.kube.control("GET", "churn"))
    time.sleep(0.5)


def start_up(folder):
    """Start of the process to its first watch at the API server, without simulated devices in the way."""
    took = []
    with closing(Kube(folder, operator=False)) as kube:
        for i in range(20):
            kube.traffic_reset()
            begin = time.time()
            process = simlib.start([BIN / "cc-manager", "--node-name=n1", f"--kubeconfig={kube.kubeconfig}",
                                    f"--state-dir={folder / f'state-{i}'}", f"--readiness-file={folder / 'ready'}",
                                    "--metrics-address="], folder / "log")

            def watched():
                return [r for r in kube.traffic()["items"] if r["verb"] == "watch"]
            first = simlib.wait_until(watched, 20, "no watch", every=0.005)[0]
            took.append(simlib.timestamp(first["time"]) - begin)
            simlib.finish(process)
    row("start to first watch, p50 of 20", f"{statistics.median(took) * 1000:.0f} ms",
        "goal <= 50 ms; NVIDIA's Python manager: 0.75 s")


def sizes(_):
    for path in sorted(BIN.iterdir()):
        row(f"size of {path.name}, stripped", f"{path.stat().st_size / 1e6:.2f} MB", "goal <= 7 MB")


MEASUREMENTS = (("Latency", latency), ("Own time", own_time), ("Many devices", many_gpus), ("Requests", requests),
                ("At rest", idle), ("Start", start_up), ("Size", sizes))


def main():
    picked = [m for m in MEASUREMENTS if len(sys.argv) < 2 or m[1].__name__ in sys.argv[1:]]
    with simlib.folder() as base:
        for title, measure in picked:
            own = base / measure.__name__
            own.mkdir()
            print(title)
            measure(own)


if __name__ == "__main__":
    main()
