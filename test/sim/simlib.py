# SPDX-License-Identifier: Apache-2.0
"""What the process tests share: programs on simulated devices (gpusim) beside a simulated API server (kubesim).

A suite is a file of functions marked @test that ends with `simlib.main()`. Each test gets a folder of its own; what it
starts ends with it. Tests of a suite run side by side, because they mostly wait: SIM_JOBS says how many (default 8).
SIM_KEEP=1 keeps the folders of tests that failed.
"""

import atexit
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("GPUCC_BIN", ROOT / "build" / "bin")).resolve()
SIM_BIN = pathlib.Path(os.environ.get("GPUCC_SIM_BIN", ROOT / "build" / "bin")).resolve()  # never the sanitizers'
JOBS = int(os.environ.get("SIM_JOBS", "8"))

MODES = ("off", "on", "devtools", "ppcie")
LABEL = "nvidia.com/cc.mode"
STATE = "nvidia.com/cc.mode.state"
READY = "nvidia.com/cc.ready.state"
STATUS = "nvidia.com/cc.status"
RETRY = "nvidia.com/cc.retry"
DEPLOY = "nvidia.com/gpu.deploy."
PAUSED = "paused-for-cc-mode-change"
# What cc.ready.state says for a mode in force, on a host that may run confidential VMs.
READY_FOR = {"off": "false", "on": "true", "devtools": "", "ppcie": "true"}


class Skip(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


# ---- processes ----------------------------------------------------------------------------------------------------

# The kernel sends the parent-death signal when the parent's thread ends: one thread, which lives as long as we do,
# starts everything, so that a killed test leaves nothing behind.
_spawner = concurrent.futures.ThreadPoolExecutor(1)
_running = set()
_lock = threading.Lock()


def start(argv, log, env=None):
    """Starts argv with stdout and stderr appended to the file log; returns the Popen."""
    def spawn():
        with open(log, "ab") as out:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)], env=env,
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    process = _spawner.submit(spawn).result()
    with _lock:
        _running.add(process)
    return process


def finish(process, seconds=20.0, how=signal.SIGTERM):
    """Ends one process by its pid: asks, waits, then kills. Returns its exit status."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with _lock:
        _running.discard(process)
    return process.returncode


@atexit.register
def _finish_all():
    for process in list(_running):
        finish(process, 5.0)


class Done:
    """A command that has ended: rc, out (stdout), err (stderr), seconds."""

    def __init__(self, rc, out, err, seconds):
        self.rc, self.out, self.err, self.seconds = rc, out, err, seconds

    def json(self):
        return json.loads(self.out)


def run(argv, seconds=60.0, env=None, check=False):
    """Runs argv to its end. One that does not end in time is killed and is an AssertionError."""
    begin = time.monotonic()
    process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{argv[0]}: still running after {seconds:g} s; stderr ends: "
                             f"{err.decode(errors='replace')[-600:]}") from None
    done = Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"),
                time.monotonic() - begin)
    if check and done.rc != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.rc}: {done.err.strip()[-600:]}")
    return done


def wait_until(predicate, seconds, what, every=0.02):
    """Polls predicate until it returns something true, and returns that. `what` may be a function that says what was
    missing."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(every)


def descendants(pid):
    """The pids of a process and all that it started, eldest first."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, pathlib.Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return found


def name_of(pid):
    """What a process is called, "" when it is gone."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def timestamp(text):
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def tail(path, lines=12):
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as e:
        return str(e)


# ---- the API server -----------------------------------------------------------------------------------------------

class Kube:
    """One kubesim. What tests do to it goes past its faults, its token and its request numbers."""

    def __init__(self, directory, *options, nodes=("n1",), labels=None, operator=True, leave_ms=5, return_ms=5):
        self.dir = pathlib.Path(directory)
        self.kubeconfig = self.dir / "kubeconfig"
        self.stderr = self.dir / "kubesim.log"
        argv = [SIM_BIN / "kubesim", f"--kubeconfig-out={self.kubeconfig}", f"--token-file={self.dir / 'token'}"]
        argv += [f"--node={n}" for n in nodes]
        argv += [f"--label={k}={v}" for k, v in (labels or {}).items()]
        if operator:
            argv += ["--operator", f"--operator-leave={leave_ms}ms", f"--operator-return={return_ms}ms"]
        self.process = start([*argv, *options], self.stderr)
        wait_until(lambda: self.kubeconfig.exists() or self.process.poll() is not None, 20, "kubesim's kubeconfig")
        if self.process.poll() is not None:
            raise AssertionError(f"kubesim: {tail(self.stderr)}")
        self.address = re.search(r"server: http://(\S+)", self.kubeconfig.read_text()).group(1)
        self.local = threading.local()

    def close(self):
        finish(self.process, 5)

    def call(self, method, path, body=None, content_type="text/plain"):
        """(status, body) of one request on a connection that each thread keeps."""
        for again in (True, False):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection(self.address, timeout=30)
            try:
                connection.request(method, path, body, {"Content-Type": content_type, "User-Agent": "simlib"})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                if not again:
                    raise

    def control(self, method, what, body=None):
        """/kubesim/...: faults, requests, compact, churn and so on; the answer as text."""
        status, text = self.call(method, "/kubesim/" + what, body)
        if status >= 300:
            raise AssertionError(f"{method} {what}: {status} {text[:300]}")
        return text.decode()

    def request(self, method, path, body=None, content_type="application/merge-patch+json"):
        """The API itself; the answer as JSON."""
        status, text = self.call(method, "/kubesim/direct" + path, None if body is None else json.dumps(body),
                                 content_type)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {text[:300]}")
        return json.loads(text)

    def fault(self, *specs):
        self.control("POST", "faults", "\n".join(specs) + "\n")

    def fault_clear(self):
        self.control("DELETE", "faults")

    def fault_hits(self):
        """How often each fault that is there has struck: {spec: hits}."""
        rows = (line.split("\t", 1) for line in self.control("GET", "faults").splitlines())
        return {spec: int(hits) for hits, spec in rows}

    def traffic(self):
        """{"count", "bytesIn", "bytesOut", "connections", "items"} since the start or traffic_reset()."""
        return json.loads(self.control("GET", "requests"))

    def traffic_reset(self):
        self.control("DELETE", "requests")

    def node(self, name="n1"):
        return self.request("GET", f"/api/v1/nodes/{name}")

    def labels(self, name="n1"):
        return self.node(name)["metadata"].get("labels", {})

    def status(self, name="n1"):
        """cc-manager's annotation as JSON, {} when there is none."""
        return json.loads(self.node(name)["metadata"].get("annotations", {}).get(STATUS, "{}"))

    def label(self, values, name="n1"):
        """Sets labels; None removes one."""
        self.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": values}})

    def annotate(self, values, name="n1"):
        self.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"annotations": values}})

    def events(self, name="n1"):
        """(reason, message, count) of the node's events, oldest first."""
        items = self.request("GET", "/api/v1/events")["items"]
        return [(e["reason"], e["message"], e.get("count", 1)) for e in items if e["involvedObject"]["name"] == name]

    def pods(self, name="n1"):
        """Names of the DaemonSets that have a pod on the node, those that are leaving left out."""
        items = self.request("GET", "/api/v1/pods")["items"]
        return sorted(p["metadata"]["ownerReferences"][0]["name"] for p in items
                      if p["spec"]["nodeName"] == name and "deletionTimestamp" not in p["metadata"])


# ---- a node: devices, labels, cc-manager --------------------------------------------------------------------------

class Node:
    """A node of simulated devices with its own API server, and cc-manager on it.

    devices:  gpusim's device string
    labels:   node labels at first; by default all operands of a Kata node are deployed
    sim:      further options of `gpusim run`, at each start
    agent:    further options of cc-manager, at each start
    driver:   what devices are bound to at first; None: nothing
    """

    def __init__(self, directory, devices="h100:1", labels=None, operands=True, sim=(), agent=(), kube=(),
                 boot_ms=10, reset_ms=5, leave_ms=5, return_ms=5, driver="vfio-pci", name="n1"):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.devices, self.name = devices, name
        self.boot_ms, self.reset_ms = boot_ms, reset_ms
        self.sim, self.agent, self.driver = list(sim), list(agent), driver
        self.state = self.dir / "sim"
        self.agent_state = self.dir / "state"
        self.ready_file = self.dir / "ready"
        self.log = self.dir / "cc-manager.log"
        self.process = None
        run([*self.gpusim(), "true"], check=True)  # makes the devices
        self.kube = Kube(self.dir, *kube, nodes=[name], labels=labels, operator=operands, leave_ms=leave_ms,
                         return_ms=return_ms)

    def close(self):
        self.stop()
        self.kube.close()

    def gpusim(self, *options):
        return [SIM_BIN / "gpusim", "run", f"--devices={self.devices}", f"--state={self.state}",
                f"--boot-ms={self.boot_ms}", f"--reset-ms={self.reset_ms}", f"--driver={self.driver or 'none'}",
                *self.sim, *options, "--"]

    def command(self, *options):
        return [BIN / "cc-manager", f"--node-name={self.name}", f"--kubeconfig={self.kube.kubeconfig}",
                "--operator-namespace=gpu-operator", f"--state-dir={self.agent_state}", "--host-tee=ignore",
                f"--readiness-file={self.ready_file}", "--metrics-address=", *self.agent, *options]

    def once(self, *options, sim=(), seconds=60):
        """cc-manager --once; Done."""
        return run([*self.gpusim(*sim), *self.command("--once", *options)], seconds)

    def start(self, *options, sim=()):
        """cc-manager as a daemon."""
        self.process = start([*self.gpusim(*sim), *self.command(*options)], self.log)
        return self

    def stop(self, seconds=20):
        process, self.process = self.process, None
        return None if process is None else finish(process, seconds)

    def gpucc(self, *arguments, sim=(), seconds=60):
        return run([*self.gpusim(*sim), BIN / "gpucc", *arguments, f"--state-dir={self.agent_state}"], seconds)

    def fault(self, *specs):
        for spec in specs:
            run([SIM_BIN / "gpusim", "fault", f"--state={self.state}", "add", spec], check=True)

    def fault_clear(self):
        run([SIM_BIN / "gpusim", "fault", f"--state={self.state}", "clear"], check=True)

    def truth(self):
        """What the devices really are in: `gpusim show`."""
        return run([SIM_BIN / "gpusim", "show", f"--state={self.state}", "-o", "json"], check=True).json()["devices"]

    # Claims. Each returns a list of complaints, empty when all is well.

    def wrong_hardware(self, mode, only=lambda d: True, drivers=True):
        """Devices that are not in the mode, have something staged, or were not given back to their driver."""
        wrong = self._wrong_hardware(mode, only, drivers)
        end = time.monotonic() + 0.3
        while wrong and self.process and time.monotonic() < end:  # what gpusim shows may be 50 ms old
            wrong = self._wrong_hardware(mode, only, drivers)
        return wrong

    def _wrong_hardware(self, mode, only, drivers):
        wrong = []
        for d in self.truth():
            if not only(d):
                continue
            pair, want = (d["ccMode"], d["ppcieMode"]), wanted_pair(d, mode)
            if pair != want:
                wrong.append(f"{d['bdf']} is {pair}, not {want}")
            if d["stagedUnapplied"]:
                wrong.append(f"{d['bdf']} has something staged and unapplied: {d['ccStaged']}, {d['ppcieStaged']}")
            if drivers and d["driver"] != self.driver:
                wrong.append(f"{d['bdf']} is bound to {d['driver']}, not to {self.driver}")
        return wrong

    def wrong_labels(self, mode, state="success", ready=None):
        labels = self.kube.labels(self.name)
        status = self.kube.status(self.name)
        wrong = []
        expect = {STATE: state, READY: READY_FOR[mode] if ready is None else ready}
        for key, value in expect.items():
            if labels.get(key) != value:
                wrong.append(f"{key} is {labels.get(key)!r}, not {value!r}")
        if status.get("inForce") != mode:
            wrong.append(f"cc.status says inForce {status.get('inForce')!r}, not {mode!r}")
        return wrong

    def settled(self, mode, ready=None):
        return not self.wrong_labels(mode, ready=ready)

    def wait_settled(self, mode, seconds=30, ready=None):
        def check():
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"cc-manager ended with {self.process.returncode}: {tail(self.log)}")
            return self.settled(mode, ready)
        wait_until(check, seconds, lambda: f"mode {mode}: {self.wrong_labels(mode)}\n{tail(self.log)}")


def wanted_pair(device, mode):
    """(ccMode, ppcieMode) of a device that is in a mode, as gpusim shows them."""
    cc = "unsupported" if device["ccMode"] == "unsupported" else "off" if mode == "ppcie" else mode
    ppcie = "unsupported" if device["ppcieMode"] == "unsupported" else "on" if mode == "ppcie" else "off"
    return cc, ppcie


# ---- tests --------------------------------------------------------------------------------------------------------

_tests = []


def test(function):
    """Registers a test; its name is the function's, its argument an empty folder."""
    add(function.__name__.removeprefix("test_"), function)
    return function


def add(name, function):
    """Registers function(folder) under a name: for rows of a table."""
    _tests.append((name, function))


def _run_one(base, name, function):
    own = base / re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100]
    own.mkdir(parents=True)
    try:
        note = function(own)
        shutil.rmtree(own, ignore_errors=True)
        return "ok", f"ok {name}" + (f": {note}" if isinstance(note, str) else "")
    except Skip as e:
        return "skip", f"skip {name}: {e}"
    except Exception as e:  # a test that breaks has failed
        text = str(e) if isinstance(e, AssertionError) else traceback.format_exc()
        return "fail", f"FAIL {name}: {text}" + (f"\n  kept: {own}" if os.environ.get("SIM_KEEP") else "")


@contextlib.contextmanager
def closing(thing):
    try:
        yield thing
    finally:
        thing.close()


@contextlib.contextmanager
def folder():
    """An empty folder that is gone afterwards."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="gpucc-sim-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield base
    finally:
        if not os.environ.get("SIM_KEEP"):
            shutil.rmtree(base, ignore_errors=True)


def pool(jobs=JOBS):
    return concurrent.futures.ThreadPoolExecutor(jobs)


def main(jobs=JOBS):
    """Runs the registered tests whose names contain one of the arguments; all without. Exits."""
    picked = [t for t in _tests if len(sys.argv) < 2 or any(a in t[0] for a in sys.argv[1:])]
    counts = {"ok": 0, "fail": 0, "skip": 0}
    begin = time.monotonic()
    with folder() as base, pool(jobs) as threads:
        for future in concurrent.futures.as_completed(
                [threads.submit(_run_one, base, name, function) for name, function in picked]):
            verdict, text = future.result()
            counts[verdict] += 1
            print(text, flush=True)
    print(f"# {time.monotonic() - begin:.1f} s")
    print(f"{counts['ok']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    sys.exit(1 if counts["fail"] else 0)
