# SPDX-License-Identifier: Apache-2.0
"""What strangers and accidents hand to the programs: labels, kubeconfigs, answers of an API server, sysfs trees. Each
has to end in a clear message on one line, soon, with nothing half-done; never in a crash.

hack/with-san runs the same on the sanitizer build.
"""

import json
import re
import shlex

import simlib
from simlib import BIN, DEPLOY, LABEL, READY, SIM_BIN, STATE, Kube, Node, add, closing, run, test, wait_until

CRASHED = "crashed or was killed"


def lines_of(text):
    return [line for line in text.splitlines() if line.strip()]


def is_exit(rc):
    """Neither a signal nor a sanitizer."""
    return 0 <= rc <= 2


# ---- labels -------------------------------------------------------------------------------------------------------

def label_row(value):
    def row(folder):
        with closing(Node(folder, "h100:1", sim=["--strict"])) as node:
            operands = {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}
            node.kube.label({LABEL: value})
            done = node.once()
            assert done.rc == 1, f"exit {done.rc}: {done.err[-500:]}"
            labels, status = node.kube.labels(), node.kube.status()
            assert labels.get(STATE) == "failed" and labels.get(READY) == "false", labels
            assert value in status["message"] and "devtools" in status["message"], status["message"]
            assert {k: v for k, v in labels.items() if k.startswith(DEPLOY)} == operands, "operands were touched"
            assert not any(d["resets"] for d in node.truth()), "a device was reset"
            assert "CCModeInvalid" in [e[0] for e in node.kube.events()], node.kube.events()
    return row


for value in ("On", "ON", "enabled", "true", "1", "off.", "on-", "devtool", "ppcie_on", "success", "o", "x" * 63):
    if value[-1] not in ".-":  # the API server refuses those itself
        add(f"label {value}", label_row(value))


@test
def test_annotations_of_others(folder):
    """What stands in our own annotations before we write them is nobody's command."""
    for text in ("", "{", "[]", "null", '"x"', '{"wanted": 7}', '{"devices": "none"}', "[" * 5000, "x" * 100000):
        with closing(Node(folder / f"{abs(hash(text))}", "h100:1")) as node:
            node.kube.label({LABEL: "on"})
            node.kube.annotate({simlib.STATUS: text, simlib.RETRY: text})
            done = node.once()
            assert done.rc == 0, f"{text[:40]!r}: exit {done.rc}: {done.err[-500:]}"
            wrong = node.wrong_labels("on") + node.wrong_hardware("on")
            assert not wrong, f"{text[:40]!r}: {wrong}"


# ---- kubeconfigs --------------------------------------------------------------------------------------------------

HEAD = "apiVersion: v1\nkind: Config\n"
GOOD = HEAD + """current-context: c
clusters:
- name: c
  cluster:
    server: http://127.0.0.1:9
contexts:
- name: c
  context: {cluster: c, user: u}
users:
- name: u
  user: {token: t}
"""
# name, text, line that the message has to name (None: the file is enough), words
KUBECONFIGS = (
    ("empty", "", None, []),
    ("not YAML", "a: [1, 2\nb: }", 2, []),
    ("tab", HEAD + "clusters:\n\t- name: c\n", 4, []),
    ("a list", "- a\n- b\n", 1, []),
    ("a scalar", "hello\n", 1, []),
    ("binary", "\x00\x01\x02\xff" * 50, None, []),
    ("duplicate key", HEAD + "current-context: a\ncurrent-context: b\n", 4, ["current-context"]),
    ("no such context", GOOD.replace("current-context: c", "current-context: other"), None, ["other"]),
    ("no current context", GOOD.replace("current-context: c\n", ""), None, ["current-context"]),
    ("no such cluster", GOOD.replace("cluster: c, user", "cluster: d, user"), None, ["d"]),
    ("no such user", GOOD.replace("user: u}", "user: v}"), None, ["v"]),
    ("no server", GOOD.replace("    server: http://127.0.0.1:9\n", "    tls-server-name: x\n"), None, ["server"]),
    ("server is no URL", GOOD.replace("http://127.0.0.1:9", "not a url"), 7, ["server"]),
    ("server is ftp", GOOD.replace("http://127.0.0.1:9", "ftp://127.0.0.1/"), 7, ["ftp"]),
    ("clusters is a map", GOOD.replace("- name: c\n  cluster:\n    server", "  name: c\n  cluster:\n    server"), None,
     ["clusters"]),
    ("server is a list", GOOD.replace("http://127.0.0.1:9", "[1]"), 7, ["server"]),
    ("exec plug-in", GOOD.replace("{token: t}", "{exec: {command: aws}}"), 13, ["exec"]),
    ("auth provider", GOOD.replace("{token: t}", "{auth-provider: {name: gcp}}"), 13, ["auth-provider"]),
    ("no such CA file", GOOD.replace("    server", "    certificate-authority: /no/such/ca\n    server")
     .replace("http:", "https:"), None, ["/no/such/ca"]),
    ("CA data is no base64", GOOD.replace("    server", "    certificate-authority-data: '%%%'\n    server")
     .replace("http:", "https:"), 7, ["certificate-authority-data"]),
    ("CA data is no certificate", GOOD.replace("    server", "    certificate-authority-data: aGVsbG8K\n    server")
     .replace("http:", "https:"), None, []),
    ("no such token file", GOOD.replace("{token: t}", "{tokenFile: /no/such/token}"), None, ["/no/such/token"]),
    ("key without certificate", GOOD.replace("{token: t}", "{client-key-data: aGVsbG8K}"), 13, ["client certificate"]),
    ("1000 anchors", HEAD + "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n"
                                                     for i in range(1, 1000)), None, []),
    ("deep", "[" * 20000, None, []),
    ("long", "x: " + "y" * (20 << 20), None, []),
)


def kubeconfig_row(text, line, words):
    def row(folder):
        path = folder / "kubeconfig"
        path.write_bytes(text.encode("latin-1"))
        done = run([BIN / "cc-manager", "--node-name=n1", f"--kubeconfig={path}", "--once", "--metrics-address=",
                    f"--state-dir={folder / 'state'}", f"--readiness-file={folder / 'ready'}"], 30)
        assert done.rc in (1, 2), f"exit {done.rc}: {done.err[-400:]}"
        told = [one for one in lines_of(done.err) if str(path) in one]
        assert told, f"no line names the file: {done.err[-400:]}"
        assert len(lines_of(done.err)) <= 3, f"{len(lines_of(done.err))} lines: {done.err[-600:]}"
        assert line is None or f"{path}:{line}:" in told[-1], f"no {path.name}:{line}: in {told[-1]}"
        missing = [w for w in words if w not in told[-1]]
        assert not missing, f"{missing} not in {told[-1]}"
        assert len(told[-1]) < 1200, f"a message of {len(told[-1])} characters"
    return row


for name, text, line, words in KUBECONFIGS:
    add(f"kubeconfig: {name}", kubeconfig_row(text, line, words))
for how in ("missing", "folder"):
    def _row(folder, how=how):
        path = folder / "kubeconfig"
        if how == "folder":
            path.mkdir()
        done = run([BIN / "cc-manager", "--node-name=n1", f"--kubeconfig={path}", "--once", "--metrics-address="], 30)
        assert done.rc in (1, 2) and str(path) in done.err, f"exit {done.rc}: {done.err[-400:]}"
    add(f"kubeconfig: {how}", _row)


# ---- answers of the API server --------------------------------------------------------------------------------------

SPOILT = ("not-json", "truncated", "huge", "nested", "nested,depth=2000", "wrong-types", "wrong-types,field=metadata",
          "wrong-types,field=metadata.labels", "wrong-types,field=metadata.resourceVersion", "wrong-types,field=items",
          "wrong-types,field=object", "half-line", "slow,bytes=1,ms=5")
PLACES = (("list of nodes", "verb=list,path=/nodes"), ("watch of the node", "verb=watch,path=/nodes"),
          ("patches", "verb=patch"), ("pods", "path=/pods"), ("everything", "path=/"))


def peak_mib(node):
    """Peak memory of cc-manager, below gpusim."""
    peak = 0
    for pid in simlib.descendants(node.process.pid):
        if simlib.name_of(pid) == "cc-manager":
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                peak = max(peak, int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)))
    return peak / 1024


def spoilt_row(action, match):
    """While every such answer is spoilt the agent waits, in little memory and few words; then it goes on."""
    def row(folder):
        with closing(Node(folder, "h100:1", agent=["--retry-backoff=200ms..1s", "--evict-timeout=2s"])) as node:
            operands = {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}
            node.kube.fault(f"{action},{match},agent=cc-manager,count=all")
            node.kube.label({LABEL: "on"})
            node.start()
            try:
                wait_until(lambda: node.process.poll() is not None, 3, "")
                raise RuntimeError(f"cc-manager ended: {simlib.tail(node.log)}")
            except AssertionError:
                pass
            log = node.log.read_text(errors="replace")
            assert len(log) < 40000, f"{len(log)} bytes of log in 3 s: {log[:600]}"
            long = [one for one in log.splitlines() if len(one) > 2000]
            assert not long, f"a line of {len(long[0])} characters"
            peak = peak_mib(node)
            assert "build-san" in str(BIN) or peak < 40, f"{peak:.0f} MiB"
            node.kube.fault_clear()
            node.wait_settled("on", 90)
            wrong = node.wrong_hardware("on")
            assert not wrong, wrong
            wait_until(lambda: {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)} == operands, 10,
                       lambda: f"deploy labels: {node.kube.labels()}")
            rc = node.stop()
            assert rc == 0, f"exit {rc}: {simlib.tail(node.log)}"
            return f"peak {peak:.0f} MiB"
    return row


for place, match in PLACES:
    for action in SPOILT:
        if action in ("half-line", "slow,bytes=1,ms=5") and place == "everything":
            continue
        add(f"API {action}, {place}", spoilt_row(action, match))


# ---- sysfs trees ----------------------------------------------------------------------------------------------------

FIRST, SECOND = "0000:41:00.0", "0000:c1:00.0"
TWO = f"h100:1@{FIRST},h100:1@{SECOND}"
DEVICE = f"/sys/bus/pci/devices/{SECOND}"

# The files that the programs may look at; those that gpusim does not make are made, so that each is spoilt once.
FILES = ("vendor", "device", "class", "subsystem_vendor", "subsystem_device", "config", "resource", "resource0",
         "reset", "reset_method", "driver", "driver_override", "iommu_group", "modalias", "irq", "numa_node",
         "power/control", "power/runtime_status", "power_state", "d3cold_allowed", "enable", "remove", "")
SPOILS = {
    "is missing": None,
    "is empty": b"",
    "is garbage": b"zz\xff\xfe\0%s\n\n\x1b[2J",
    "is all ones": b"\xff" * 4096,
    "is 20 MiB": b"a" * (20 << 20),
    "is a folder": "mkdir {f}",
    "is a link to itself": "ln -s {f} {f}",
}


def spoilt_machine(node, how, path, command):
    """Runs a command after something of the tree was replaced; in sysfs nobody creates files, so links lead to ours."""
    what, spoilt = SPOILS[how], node.dir / "spoilt"
    if isinstance(what, bytes):
        spoilt.write_bytes(what)
        what = f"ln -s {spoilt} {{f}}"
    script = "set -e\nrm -rf {f}\n" + (what or "") + "\nexec " + " ".join(shlex.quote(str(c)) for c in command)
    done = run([*node.gpusim(), "sh", "-c", script.replace("{f}", shlex.quote(path))], 40)
    assert not done.err.startswith(("sh:", "rm:", "ln:", "mkdir:")), f"the tree could not be spoilt: {done.err}"
    return done


class Machine(Node):
    """Two GPUs; the second one's part of the tree is spoilt."""

    def __init__(self, folder, kube=False):
        if kube:
            super().__init__(folder, TWO)
        else:
            self.kube = None
            self.dir, self.devices, self.boot_ms, self.reset_ms, self.sim = folder, TWO, 5, 5, []
            self.state, self.agent_state, self.process = folder / "sim", folder / "state", None
            self.driver = "vfio-pci"

    def close(self):
        if self.kube:
            super().close()


def query_row(how, path):
    def row(folder):
        node = Machine(folder)
        done = spoilt_machine(node, how, path, [BIN / "gpucc", "mode", "query", "-o", "json",
                                                f"--state-dir={folder / 'state'}"])
        assert is_exit(done.rc), f"{CRASHED}: exit {done.rc}: {done.err[-600:]}"
        if not done.out:
            assert done.rc == 1 and len(lines_of(done.err)) == 1, f"exit {done.rc}: {done.err[-600:]}"
            assert not path.startswith(DEVICE), f"one device hides the other: {done.err}"
            return
        found = {d["bdf"]: d for d in json.loads(done.out)["devices"]}
        broken = [d for d in found.values() if d["error"]]
        assert (done.rc == 1) == bool(broken), f"exit {done.rc}, but {found}"
        if path.startswith(DEVICE):
            assert found[FIRST]["ccMode"] == "off" and not found[FIRST]["error"], f"the other GPU: {found[FIRST]}"
            other = found.get(SECOND)
            assert other is None or other["error"] or other["ccMode"] == "off", f"a lie: {other}"
            assert other is None or not other["error"] or "\n" not in other["error"], other
    return row


def agent_row(how, path):
    def row(folder):
        with closing(Machine(folder, kube=True)) as node:
            operands = {k: v for k, v in node.kube.labels().items() if k.startswith(DEPLOY)}
            node.kube.label({LABEL: "on"})
            done = spoilt_machine(node, how, path, node.command("--once"))
            assert is_exit(done.rc), f"{CRASHED}: exit {done.rc}: {done.err[-600:]}"
            labels, status = node.kube.labels(), node.kube.status()
            left = {k: v for k, v in labels.items() if k.startswith(DEPLOY)}
            assert left == operands, f"deploy labels: {left}"
            staged = [d["bdf"] for d in node.truth() if d["stagedUnapplied"]]
            assert not staged, f"staged and unapplied: {staged}; {done.err[-600:]}"
            if done.rc == 0:
                gone = [d for d in node.truth() if d["bdf"] == SECOND and d["ccMode"] != "on"]
                assert labels.get(STATE) == "success" and not node.wrong_hardware("on", lambda d: d not in gone), labels
                assert not gone or path in (DEVICE, *(f"{DEVICE}/{f}" for f in ("class", "vendor"))), \
                    f"success, but {gone}"
                return
            assert labels.get(STATE) == "failed", f"{labels}; {done.err[-600:]}"
            assert not path.startswith(DEVICE) or SECOND in status["message"], status["message"]
            assert labels.get(READY) != "true", labels
            assert "\n" not in status["message"] and "\x1b" not in status["message"], status["message"]
    return row


for how in SPOILS:
    for name in FILES:
        path = f"{DEVICE}/{name}".rstrip("/")
        add(f"gpucc: {name or 'the device'} {how}", query_row(how, path))
        if how in ("is missing", "is garbage", "is a folder", "is all ones"):
            add(f"cc-manager: {name or 'the device'} {how}", agent_row(how, path))
    for path in ("/sys/bus/pci/devices", "/sys/bus/pci", "/sys/bus/pci/drivers", "/sys/bus/pci/drivers/vfio-pci"):
        add(f"gpucc: {path} {how}", query_row(how, path))

if __name__ == "__main__":
    simlib.main()
