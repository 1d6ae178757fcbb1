# SPDX-License-Identifier: Apache-2.0
"""cc-manager on gpusim as the tests run it, a proxy that can cut its connection, and questions to ask of both."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import e2e
from e2e import MODE, READY, STATE
from simlib import BIN, READY_FOR, SIM_BIN, finish, free_port, run, start, tail, wait_until, wanted_pair


def need(*programs):
    """Skips a test whose programs are not built; tests that ran `make` before never are."""
    for program in programs:
        if not program.exists():
            raise e2e.Skip(f"{program} is not built")


_ports = set()
_ports_lock = threading.Lock()


def own_port():
    """A free port that no other agent of this run was given: hundreds would draw the same one twice."""
    with _ports_lock:
        while (port := free_port()) in _ports:
            pass
        _ports.add(port)
        return port


class Proxy:
    """Passes TCP connections on to the API server, and can cut them all and refuse new ones."""

    def __init__(self, cluster):
        self.target = ("127.0.0.1", cluster.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = set()
        self.lock = threading.Lock()
        self.is_open = True
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Closes every connection; new ones are closed at once until mend()."""
        with self.lock:
            self.is_open = False
            pairs, self.pairs = self.pairs, set()
        for one, other in pairs:
            for s in (one, other):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def mend(self):
        with self.lock:
            self.is_open = True

    def close(self):
        self.cut()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            try:
                server = socket.create_connection(self.target)
            except OSError:
                return
            with server:
                pair = (client, server)
                with self.lock:
                    if not self.is_open:
                        return
                    self.accepted += 1
                    self.pairs.add(pair)
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()
                with self.lock:
                    self.pairs.discard(pair)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Agent:
    """One node with its simulated devices (none: a bare PCI bus, without a simulator) and cc-manager's configuration;
    start() and stop() its process. One beside another is the same node's second cc-manager."""

    def __init__(self, t, node, devices="h100:1", labels=None, operands=(), token=None, arguments=(), sim=(),
                 proxy=None, beside=None):
        need(BIN / "cc-manager", *([SIM_BIN / "gpusim"] if devices else []))
        self.t = t
        self.cluster = t.cluster
        self.node = node
        self.devices = devices
        self.arguments = list(arguments)
        self.sim = list(sim)
        self.dir = t.dir / (node + ("-second" if beside else ""))
        self.dir.mkdir()
        self.state_dir = beside.state_dir if beside else self.dir / "state"
        self.sim_state = self.dir / "sim"
        self.log = self.dir / "cc-manager.log"
        self.ready_file = self.dir / "ready"
        self.metrics_port = own_port()
        self.process = None
        self.cluster.create_node(node, {**{e2e.DEPLOY + o: "true" for o in operands}, **(labels or {})})
        if operands:
            t.operator.adopt(node, operands)
            t.defer(t.operator.release, node)
        self.identity = e2e.AgentIdentity(self.cluster, node)
        self.account = e2e.ServiceAccountDir(self.dir / "account", self.cluster, token or self.identity.token())
        self.kubeconfig = self.dir / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": f"https://127.0.0.1:{proxy.port}" if proxy else self.cluster.server,
                "certificate-authority": str(self.account.dir / "ca.crt")}}],
            "users": [{"name": "c", "user": {"tokenFile": str(self.account.dir / "token")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}))
        if not devices:
            (self.dir / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
            self.arguments.append(f"--sysfs-root={self.dir / 'sys'}")
        t.defer(self.stop)

    def gpusim(self, *options):
        if not self.devices:
            return []
        return [SIM_BIN / "gpusim", "run", f"--devices={self.devices}", f"--state={self.sim_state}",
                "--driver=vfio-pci", "--host-tee=snp", *self.sim, *options, "--"]

    def command(self):
        return [BIN / "cc-manager", f"--node-name={self.node}", f"--kubeconfig={self.kubeconfig}",
                f"--operator-namespace={e2e.OPERATOR_NAMESPACE}", f"--state-dir={self.state_dir}",
                f"--readiness-file={self.ready_file}",
                f"--metrics-address=127.0.0.1:{self.metrics_port}", "--log-level=debug", *self.arguments]

    def start(self, *sim_options):
        self.process = start([*self.gpusim(*sim_options), *self.command()], self.log)
        return self

    def stop(self, how=signal.SIGTERM):
        """Ends cc-manager (its simulator ends with it); returns the exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        for pid in self.pids():
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass  # it has just ended by itself
        # gpusim ends with its client; only if it does not is it ended itself.
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        return finish(process)

    def pids(self):
        """cc-manager's main process, known by the port of its metrics; its children are other processes of its."""
        found = {}
        for entry in os.listdir("/proc"):
            try:
                if f"--metrics-address=127.0.0.1:{self.metrics_port}".encode() in \
                        pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") and \
                        os.readlink(f"/proc/{entry}/exe") == str((BIN / "cc-manager").resolve()):
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                    found[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
        return [pid for pid, parent in found.items() if parent not in found]

    def pid(self):
        return wait_until(self.pids, 10, "cc-manager's process")[0]

    # Questions

    def set_mode(self, mode):
        self.cluster.label(self.node, MODE, mode)

    def settled(self, mode, ready=None):
        """The labels and the annotation say that a mode is in force and verified."""
        metadata = self.cluster.node(self.node)["metadata"]
        labels = metadata.get("labels", {})
        status = json.loads(metadata.get("annotations", {}).get(e2e.STATUS, "{}"))
        return (labels.get(STATE) == "success" and labels.get(READY) == (READY_FOR[mode] if ready is None else ready)
                and status.get("wanted") == mode and status.get("inForce") == mode and status)

    def wait_settled(self, mode, seconds=30, ready=None):
        def check():
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"cc-manager ended with {self.process.returncode}: {tail(self.log)}")
            return self.settled(mode, ready)
        try:
            return wait_until(check, seconds, f"{self.node} in mode {mode}")
        except AssertionError as e:
            metadata = self.cluster.node(self.node)["metadata"]
            raise AssertionError(f"{e}\nlabels {metadata.get('labels')}\nannotations {metadata.get('annotations')}\n"
                                 f"{tail(self.log, 8)}") from None

    def phase(self):
        """The phase that the log named last."""
        return re.findall(r" phase=(\w+)", self.log.read_text())[-1]

    def get(self, path):
        """Status and text of the agent's own HTTP server; status 0 while nobody answers."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""

    def metrics(self):
        """The samples of /metrics: {'name{labels}': value}."""
        samples = {}
        for line in self.get("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def metric_sum(self, name, containing=""):
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name and containing in k)

    def fault(self, *arguments):
        """gpusim fault: "add", SPEC or "clear", also while cc-manager runs."""
        run([SIM_BIN / "gpusim", "fault", f"--state={self.sim_state}", *arguments], check=True)

    def wrong_hardware(self, mode):
        """What the simulator says about devices that are not in the mode or have something staged."""
        shown = run([SIM_BIN / "gpusim", "show", f"--state={self.sim_state}", "-o", "json"], check=True).json()
        return [d for d in shown["devices"]
                if (d["ccMode"], d["ppcieMode"]) != wanted_pair(d, mode) or d["stagedUnapplied"]]

    def requests(self, skip=0):
        """This agent's requests in the audit log, each once: watches when they start, all others when they end."""
        found = []
        for entry in self.cluster.audit(skip):
            node = entry.get("user", {}).get("extra", {}).get("authentication.kubernetes.io/node-name")
            if node == [self.node] and (entry["stage"] == "ResponseComplete") != (entry["verb"] == "watch"):
                found.append(entry)
        return found


def memory_kb(pid, what="Pss"):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1])
    return 0


def elapsed(begin):
    return time.monotonic() - begin
