# SPDX-License-Identifier: Apache-2.0
"""The end-to-end harness: a real API server on loopback, nodes, a stand-in for the GPU Operator, cc-manager on gpusim.

Everything lives in one temporary directory and listens on free loopback ports; processes are started and ended through
simlib, by pid, also when a test fails. Tests are functions marked @test, run by main().
"""

import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "sim"))
from simlib import Skip, finish, free_port, run, start, tail, wait_until  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MANIFESTS = ROOT / "deploy" / "manifests"

NAMESPACE = "gpucc"
OPERATOR_NAMESPACE = "gpu-operator"
AGENT = "nvidia-cc-manager"
AGENT_USER = f"system:serviceaccount:{NAMESPACE}:{AGENT}"

PAUSED = "paused-for-cc-mode-change"
DEPLOY = "nvidia.com/gpu.deploy."
MODE = "nvidia.com/cc.mode"
STATE = "nvidia.com/cc.mode.state"
READY = "nvidia.com/cc.ready.state"
STATUS = "nvidia.com/cc.status"
WORKLOAD = "nvidia.com/gpu.workload.config"

MERGE = "application/merge-patch+json"


class ApiError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


# ---- the cluster --------------------------------------------------------------------------------------------------

AUDIT_POLICY = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Request
    users: ["{AGENT_USER}"]
    verbs: [create, patch, update, delete]
  - level: Metadata
    users: ["{AGENT_USER}"]
  - level: None
    userGroups: ["system:authenticated"]
  # What is left was not let in: 401.
  - level: Metadata
"""


class Cluster:
    """One etcd and one kube-apiserver with RBAC, the node authorizer and admission on, and their own PKI."""

    def __init__(self, kube, directory, extra_flags=()):
        self.kube = pathlib.Path(kube)
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.extra_flags = list(extra_flags)
        self.audit_path = self.dir / "audit.log"
        self.etcd = self.api_process = None
        self.path = self.dir / "bin"
        self.path.mkdir()
        (self.path / "kubectl").symlink_to(self.kube)
        self._make_pki()
        (self.dir / "audit.yaml").write_text(AUDIT_POLICY)
        self.tls = ssl.create_default_context(cafile=self.dir / "ca.crt")
        self.admin_tls = ssl.create_default_context(cafile=self.dir / "ca.crt")
        self.admin_tls.load_cert_chain(self.dir / "admin.crt", self.dir / "admin.key")

    # PKI

    def _openssl(self, *args, **options):
        return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=self.dir, **options)

    def _certificate(self, name, subject, extensions):
        (self.dir / f"{name}.ext").write_text(extensions)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def _make_pki(self):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", "/CN=gpucc-e2e", "-keyout", "ca.key", "-out", "ca.crt")
        self._certificate("server", "/CN=kube-apiserver",
                          "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc\n"
                          "extendedKeyUsage=serverAuth\n")
        self._certificate("admin", "/O=system:masters/CN=e2e-admin", "extendedKeyUsage=clientAuth\n")
        self._openssl("genrsa", "-out", "sa.key", "2048")
        self._openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")

    # Servers

    def start(self):
        """Starts etcd and the API server; returns the seconds until /readyz said ok."""
        begin = time.monotonic()
        for attempt in range(3):
            self.etcd_url, self.etcd_peer_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
            try:
                self.start_etcd()
                break
            except AssertionError:
                # Somebody took one of the ports between our asking and etcd's binding.
                finish(self.etcd)
                if attempt == 2:
                    raise
        self.port = free_port()
        self.server = f"https://127.0.0.1:{self.port}"
        self.start_api()
        self.kubeconfig = self.write_kubeconfig("admin", {"client-certificate": str(self.dir / "admin.crt"),
                                                          "client-key": str(self.dir / "admin.key")})
        return time.monotonic() - begin

    def start_etcd(self):
        self.etcd = start([self.kube, "etcd", self.dir / "etcd", self.etcd_url, self.etcd_peer_url],
                          self.dir / "etcd.log")
        self._wait_alive(self.etcd, self._etcd_ready, 30, "etcd", self.dir / "etcd.log")

    def stop_etcd(self):
        finish(self.etcd)

    def start_api(self):
        """Starts the API server on the same port as before; returns the seconds until it was ready."""
        begin = time.monotonic()
        log = self.dir / "apiserver.log"
        self.api_process = start(self._api_command(self.port), log)
        self._wait_alive(self.api_process, lambda: self._api_ready(self.port), 120, "API server", log)
        return time.monotonic() - begin

    def start_another_api(self):
        """A second API server on the same etcd; returns its process and port. Whoever starts it ends it."""
        port, log = free_port(), self.dir / "apiserver-2.log"
        process = start(self._api_command(port), log)
        self._wait_alive(process, lambda: self._api_ready(port), 120, "second API server", log)
        return process, port

    def _api_command(self, port):
        d = self.dir
        return [
            self.kube, "apiserver", f"--etcd-servers={self.etcd_url}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}",
            # No kubernetes.default endpoint: 127.0.0.1 is not a valid one, and nothing here uses it.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={d}/server.crt", f"--tls-private-key-file={d}/server.key",
            f"--client-ca-file={d}/ca.crt", "--anonymous-auth=true",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={d}/sa.pub", f"--service-account-signing-key-file={d}/sa.key",
            "--service-account-extend-token-expiration=false",
            "--service-cluster-ip-range=10.0.0.0/24", "--shutdown-delay-duration=0s",
            # On SIGTERM watches are ended as by their time-out, not cut.
            "--shutdown-watch-termination-grace-period=2s",
            f"--audit-policy-file={d}/audit.yaml", f"--audit-log-path={self.audit_path}",
            "--allow-privileged=true", "--profiling=false", "--v=1", *self.extra_flags,
        ]

    def stop_api(self, how=signal.SIGKILL):
        """Asked politely (SIGTERM) it goes on serving open watches; after 5 s it is killed."""
        finish(self.api_process, 5.0, how)

    def stop(self):
        for process in (self.api_process, self.etcd):
            if process:
                finish(process, 10.0)

    @staticmethod
    def _wait_alive(process, ready, seconds, what, log):
        def check():
            if process.poll() is not None:
                raise AssertionError(f"{what} ended with {process.returncode}:\n{tail(log)}")
            return ready()
        wait_until(check, seconds, f"{what} ready\n{tail(log, 3)}")

    def _etcd_ready(self):
        try:
            connection = http.client.HTTPConnection(self.etcd_url[len("http://"):], timeout=2)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def _api_ready(self, port):
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=self.admin_tls)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def compact(self):
        """Makes etcd forget all history up to now; returns the revision."""
        return int(run([self.kube, "etcd-compact", self.etcd_url], check=True).out)

    # Requests

    def connection(self, token=None, seconds=30):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds,
                                           context=self.tls if token else self.admin_tls)

    def open(self, method, path, body=None, kind="application/json", token=None, accept=None, seconds=30):
        """Sends one request (as the administrator, or with a token); returns the open response."""
        headers = {"Accept": accept or "application/json", "User-Agent": "gpucc-e2e"}
        if token:
            headers["Authorization"] = "Bearer " + token
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = kind
        connection = self.connection(token, seconds)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.owner = connection
        return response

    def request(self, method, path, body=None, **options):
        """One request to its end; returns the decoded answer, raises ApiError for 4xx and 5xx."""
        response = self.open(method, path, body, **options)
        try:
            text = response.read().decode()
        finally:
            response.owner.close()
        if response.status >= 400:
            try:
                text = json.loads(text)["message"]
            except (ValueError, KeyError):
                pass
            raise ApiError(response.status, text)
        return json.loads(text) if response.headers.get_content_type() == "application/json" else text

    def write_kubeconfig(self, name, user):
        path = self.dir / f"{name}.kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": {"server": self.server,
                                                     "certificate-authority": str(self.dir / "ca.crt")}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        }, indent=1))
        return path

    def kubectl(self, *args, check=True, seconds=60):
        """Runs kubectl as the administrator to its end; see simlib.Done."""
        return run([self.path / "kubectl", f"--kubeconfig={self.kubeconfig}", *args], seconds, check=check,
                   env={**os.environ, "KUBECACHEDIR": str(self.dir / "kubectl-cache")})

    # What every test needs

    def install(self):
        """Applies deploy/manifests as an administrator does: the operator's namespace exists before."""
        for namespace in (OPERATOR_NAMESPACE, "default"):
            self.create_namespace(namespace)
        self.kubectl("apply", "--server-side", "-f", MANIFESTS / "cc-manager")
        # The policies reach the admission chain a moment after they are stored.
        wait_until(self._policy_in_force, 30, "the node policy denies a foreign label")

    def _policy_in_force(self):
        self.create_node("policy-probe")
        agent = AgentIdentity(self, "policy-probe")
        try:
            self.request("PATCH", "/api/v1/nodes/policy-probe?dryRun=All", kind=MERGE, token=agent.token(),
                         body={"metadata": {"labels": {"example.com/foreign": "x"}}})
        except ApiError as e:
            return e.code == 422
        return False

    def create_namespace(self, name):
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        # Without a controller manager nobody else makes the account that pods of a namespace get.
        self.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})

    def create(self, path, body):
        """Creates an object; one that exists already is fine and returned as it is."""
        try:
            return self.request("POST", path, body)
        except ApiError as e:
            if e.code != 409:
                raise
            return self.request("GET", f"{path}/{body['metadata']['name']}")

    def create_node(self, name, labels=None):
        return self.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "nvidia.com/gpu.present": "true",
            WORKLOAD: "vm-passthrough", **(labels or {})}}})

    def node(self, name):
        return self.request("GET", f"/api/v1/nodes/{name}")

    def labels(self, name):
        return self.node(name)["metadata"].get("labels", {})

    def label(self, node, key, value):
        """kubectl label: value None removes the key."""
        self.kubectl("label", "node", node, "--overwrite", f"{key}={value}" if value is not None else f"{key}-")

    def status(self, name):
        text = self.node(name)["metadata"].get("annotations", {}).get(STATUS)
        return json.loads(text) if text else {}

    def events(self, node, reason=None):
        found = self.request("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=Node,"
                             f"involvedObject.name={node}")["items"]
        return [e for e in found if reason is None or e["reason"] == reason]

    def audit(self, skip=0):
        """The audit log's entries from number `skip` on, as dictionaries."""
        with open(self.audit_path) as f:
            return [json.loads(line) for n, line in enumerate(f) if n >= skip and line.endswith("\n")]

    def watch(self, path, token=None, accept=None, seconds=30):
        """Yields the events of a watch, as dictionaries, until the server ends it."""
        response = self.open("GET", path, token=token, accept=accept, seconds=seconds)
        try:
            if response.status != 200:
                raise ApiError(response.status, response.read().decode())
            for line in response:
                yield json.loads(line)
        finally:
            response.owner.close()


class AgentIdentity:
    """The pod of the DaemonSet on one node, as the kubelet would see it: object, account and tokens."""

    def __init__(self, cluster, node):
        self.cluster = cluster
        self.node = node
        daemonset = cluster.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{AGENT}")
        template = daemonset["spec"]["template"]
        self.container = template["spec"]["containers"][0]
        name = f"{AGENT}-{node}"
        self.pod = cluster.create(f"/api/v1/namespaces/{NAMESPACE}/pods", {
            "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": AGENT, "controller": True,
                "uid": daemonset["metadata"]["uid"]}]},
            "spec": {**template["spec"], "nodeName": node}})

    def token(self, seconds=3600):
        """A token of the pod's account from the TokenRequest API, bound to the pod and with it to the node."""
        answer = self.cluster.request(
            "POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{AGENT}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
                "expirationSeconds": seconds, "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": self.pod["metadata"]["name"],
                    "uid": self.pod["metadata"]["uid"]}}})
        return answer["status"]["token"]

    def short_token(self, seconds):
        """The same with a life the TokenRequest API does not offer (ten minutes are its least). The server lets a
        token live a minute past its end, and remembers for 10 s that it was good: both come on top of exp."""
        def encode(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")
        header, claims, _ = self.token().encode().split(b".")
        claims = json.loads(base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)))
        claims["exp"] = int(time.time()) + seconds - 60
        claims["jti"] = os.urandom(8).hex()
        text = header + b"." + encode(json.dumps(claims).encode())
        signature = self.cluster._openssl("dgst", "-sha256", "-sign", "sa.key", input=text).stdout
        return (text + b"." + encode(signature)).decode()

    def environment(self):
        """The container's environment as the DaemonSet says, references resolved."""
        values = {}
        for entry in self.container.get("env", []):
            path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            if path not in (None, "spec.nodeName"):
                raise AssertionError(f"the harness does not know the reference {path}")
            values[entry["name"]] = self.node if path else entry.get("value", "")
        return values


class ServiceAccountDir:
    """The projected volume a pod sees: token, CA and namespace, swapped at once as the kubelet does it."""

    def __init__(self, directory, cluster, token):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.ca = (cluster.dir / "ca.crt").read_bytes()
        for name in ("token", "ca.crt", "namespace"):
            (self.dir / name).symlink_to(f"..data/{name}")
        self.generation = 0
        self.write(token)

    def write(self, token):
        self.generation += 1
        data = self.dir / f"..{self.generation}"
        data.mkdir()
        (data / "token").write_text(token)
        (data / "ca.crt").write_bytes(self.ca)
        (data / "namespace").write_text(NAMESPACE)
        (self.dir / "..next").symlink_to(data.name)
        (self.dir / "..next").rename(self.dir / "..data")


# ---- the GPU Operator's part --------------------------------------------------------------------------------------

# Deploy label -> labels the operand's pods carry in the operator's own manifests.
OPERANDS = {
    "vfio-manager": {"name": "nvidia-vfio-manager"},
    "sandbox-validator": {"app": "nvidia-sandbox-validator"},
    "kata-sandbox-device-plugin": {"app": "nvidia-kata-sandbox-device-plugin-daemonset"},
}


class Operator(threading.Thread):
    """Does for the nodes it was given what the DaemonSet controller and the kubelet do with the operator's operands:
    a pod for each deploy label that is `true`, and none otherwise. A leaving pod terminates for `grace` seconds."""

    def __init__(self, cluster, grace=0.2):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.grace = grace
        self.nodes = {}
        self.leaving = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.start()

    def adopt(self, node, operands):
        with self.lock:
            self.nodes[node] = list(operands)

    def release(self, node):
        with self.lock:
            self.nodes.pop(node, None)

    def close(self):
        self.ended.set()
        self.join()

    def run(self):
        while not self.ended.wait(0.1):
            with self.lock:
                nodes = dict(self.nodes)
            for node, operands in nodes.items():
                try:
                    self._reconcile(node, operands)
                except (OSError, ApiError, http.client.HTTPException, ValueError):
                    pass  # the API server is away in some tests; the next round finds it again

    def pods(self, node):
        return self.cluster.request("GET", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?"
                                    f"fieldSelector=spec.nodeName={node}")["items"]

    def _reconcile(self, node, operands):
        labels = self.cluster.labels(node)
        present = {p["metadata"]["name"]: p for p in self.pods(node)}
        base = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
        for operand in operands:
            pod_labels = OPERANDS[operand]
            daemonset = next(iter(pod_labels.values()))
            name = f"{daemonset}-{node}"
            wanted = labels.get(DEPLOY + operand) == "true"
            if name not in present and wanted:
                self.cluster.create(base, {
                    "metadata": {"name": name, "labels": pod_labels, "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": daemonset, "controller": True,
                        "uid": "00000000-0000-0000-0000-000000000001"}]},
                    "spec": {"nodeName": node, "containers": [{"name": "operand", "image": "none"}]}})
            elif name in present and "deletionTimestamp" in present[name]["metadata"]:
                if time.monotonic() > self.leaving.get(name, 0):
                    self.cluster.request("DELETE", f"{base}/{name}", {"gracePeriodSeconds": 0})
            elif name in present and not wanted:
                self.cluster.request("DELETE", f"{base}/{name}", {"gracePeriodSeconds": 30})
                self.leaving[name] = time.monotonic() + self.grace


# ---- running the tests --------------------------------------------------------------------------------------------

_tests = []


def test(function=None, *, alone=False):
    """Marks a test. It gets a Context. Tests marked alone=True disturb the server and run one by one, last."""
    def mark(f):
        f.alone = alone
        f.title = f.__name__.removeprefix("test_").replace("_", "-")
        _tests.append(f)
        return f
    return mark(function) if function else mark


class Context:
    """What a test is given: the cluster, the operator and a directory of its own."""

    def __init__(self, cluster, operator, directory):
        self.cluster = cluster
        self.operator = operator
        self.dir = directory
        self.cleanups = []
        self.notes = []

    def defer(self, function, *args):
        self.cleanups.append((function, args))

    def note(self, text):
        """A figure for the test's result line."""
        self.notes.append(text)

    def close(self):
        for function, args in reversed(self.cleanups):
            function(*args)
        # A test that failed while they were away shall not fail the next one.
        if self.cluster.etcd.poll() is not None:
            self.cluster.start_etcd()
        if self.cluster.api_process.poll() is not None:
            self.cluster.start_api()


def run_one(function, cluster, operator, base):
    directory = base / "tests" / function.title
    directory.mkdir(parents=True)
    context = Context(cluster, operator, directory)
    begin = time.monotonic()
    try:
        try:
            function(context)
        finally:
            context.close()
        result, text = "ok", ""
    except Skip as e:
        result, text = "skip", f": {e}"
    except AssertionError as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        result, text = "FAIL", f": {str(e) or where.line} ({pathlib.Path(where.filename).name}:{where.lineno})"
    except Exception:
        result, text = "FAIL", f": {traceback.format_exc()}"
    took = time.monotonic() - begin
    notes = f" [{'; '.join(context.notes)}]" if context.notes else ""
    print(f"{result} {function.title}{text}" + (f" ({took:.1f} s){notes}" if result == "ok" else ""), flush=True)
    return result


def main(argv):
    """main(["PROGRAM", "KUBE", "NAME"...]): runs the tests whose names contain one of NAME (all without)."""
    kube, wanted = argv[1], argv[2:]
    chosen = [f for f in _tests if not wanted or any(w in f.title for w in wanted)]
    base = pathlib.Path(tempfile.mkdtemp(prefix="gpucc-e2e-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = []
    cluster = operator = None
    try:
        cluster = Cluster(kube, base / "cluster")
        seconds = cluster.start()
        print(f"# etcd and API server ready after {seconds:.1f} s", flush=True)
        cluster.install()
        operator = Operator(cluster)
        # Tests that only own a node of theirs run side by side; simulated hardware mostly waits.
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("GPUCC_E2E_JOBS", "4"))) as pool:
            results += pool.map(lambda f: run_one(f, cluster, operator, base), [f for f in chosen if not f.alone])
        results += [run_one(f, cluster, operator, base) for f in chosen if f.alone]
    finally:
        if operator:
            operator.close()
        if cluster:
            cluster.stop()
        if os.environ.get("GPUCC_E2E_KEEP") or "FAIL" in results:
            print(f"# logs kept in {base}", flush=True)
        else:
            shutil.rmtree(base, ignore_errors=True)
    counts = {kind: results.count(kind) for kind in ("ok", "FAIL", "skip")}
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped", flush=True)
    return 1 if counts["FAIL"] or not results else 0
