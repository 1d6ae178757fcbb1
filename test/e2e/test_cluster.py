# SPDX-License-Identifier: Apache-2.0
"""What the other tests stand on, and what the manifests promise: the server, RBAC, the node policy, watches, tokens."""

import json
import time

import e2e
from e2e import AGENT, AGENT_USER, DEPLOY, MERGE, MODE, NAMESPACE, OPERATOR_NAMESPACE, READY, STATE, STATUS, test
from simlib import wait_until

PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@test
def test_server_and_kubectl(t):
    t.cluster.create_node("plain", {"example.com/team": "a"})
    version = json.loads(t.cluster.kubectl("version", "-o", "json").out)
    client, server = version["clientVersion"]["gitVersion"], version["serverVersion"]["gitVersion"]
    assert client == server and client.startswith("v1.") and client != "v1.0.0", (client, server)
    t.cluster.kubectl("label", "node", "plain", f"{MODE}=on")
    assert t.cluster.labels("plain")[MODE] == "on"
    again = t.cluster.kubectl("label", "node", "plain", f"{MODE}=off", check=False)
    assert again.rc == 1 and "--overwrite" in again.err, again.err
    t.note(f"Kubernetes {server}")


@test
def test_manifests_are_idempotent(t):
    before = t.cluster.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{AGENT}")
    t.cluster.kubectl("apply", "--server-side", "-f", e2e.MANIFESTS / "cc-manager")
    after = t.cluster.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{AGENT}")
    assert before["metadata"]["generation"] == after["metadata"]["generation"] == 1


@test
def test_daemonset_contract(t):
    """Selectors that NVIDIA's documentation and the operator use find our pods; the pod is as the contract says."""
    pod = e2e.AgentIdentity(t.cluster, "policy-probe").pod
    for selector in (f"app={AGENT}", f"name={AGENT}", "app.kubernetes.io/name=cc-manager"):
        found = t.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "name").out
        assert pod["metadata"]["name"] in found, selector
    spec = pod["spec"]
    container = spec["containers"][0]
    assert spec["terminationGracePeriodSeconds"] == 120
    assert spec["priority"] == 2000001000, "system-node-critical"
    assert container["securityContext"]["privileged"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert "--metrics-address=0.0.0.0:9402" in container["args"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert ports[container[probe]["httpGet"]["port"]] == 9402
    mounts = {v["mountPath"] for v in container["volumeMounts"]}
    assert {"/sys", "/run/nvidia", "/host/proc", "/var/run/secrets/kubernetes.io/serviceaccount"} == mounts, mounts


def rules_of(cluster, token, namespace):
    """All (verb, resource) an account may use in a namespace, without what every authenticated user may."""
    answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", token=token, body={
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}})
    assert not answer["status"]["incomplete"] or "node authorizer" in answer["status"]["evaluationError"], answer
    return {(verb, f"{group}/{resource}" if group else resource)
            for rule in answer["status"]["resourceRules"] for verb in rule["verbs"]
            for group in rule["apiGroups"] for resource in rule["resources"]
            if group not in ("authorization.k8s.io", "authentication.k8s.io")}


@test
def test_rbac_truth(t):
    """The account may do exactly what it needs, and kubectl says the same."""
    token = e2e.AgentIdentity(t.cluster, "policy-probe").token()
    everywhere = {(v, "nodes") for v in ("get", "list", "watch", "patch")} | {
        ("create", "events"), ("patch", "events")}
    pods = {(v, "pods") for v in ("get", "list", "watch")}
    for namespace in (NAMESPACE, "default", "kube-system"):
        assert rules_of(t.cluster, token, namespace) == everywhere, namespace
    assert rules_of(t.cluster, token, OPERATOR_NAMESPACE) == everywhere | pods

    for allowed, question in (
            (True, ["patch", "nodes"]), (True, ["list", "pods", "-n", OPERATOR_NAMESPACE]),
            (True, ["create", "events", "-n", "default"]), (False, ["update", "nodes"]),
            (False, ["patch", "nodes", "--subresource=status"]), (False, ["delete", "nodes"]),
            (False, ["delete", "pods", "-n", OPERATOR_NAMESPACE]), (False, ["list", "pods", "-n", NAMESPACE]),
            (False, ["list", "pods", "-A"]), (False, ["get", "secrets", "-n", OPERATOR_NAMESPACE]),
            (False, ["create", "pods", "--subresource=eviction", "-n", OPERATOR_NAMESPACE])):
        answer = t.cluster.kubectl("auth", "can-i", *question, f"--as={AGENT_USER}", check=False)
        assert answer.out.strip() == ("yes" if allowed else "no"), (question, answer.out, answer.err)


@test(alone=True)
def test_drain_rights_are_apart(t):
    """The rights of --busy-policy=drain come with their own file, and go with it."""
    token = e2e.AgentIdentity(t.cluster, "policy-probe").token()
    path = e2e.MANIFESTS / "cc-manager" / "drain"
    before = rules_of(t.cluster, token, "default")
    t.cluster.kubectl("apply", "--server-side", "-f", path)
    t.defer(t.cluster.kubectl, "delete", "--ignore-not-found", "-f", path)
    more = {(v, "pods") for v in ("get", "list", "watch")} | {("create", "pods/eviction")}
    wait_until(lambda: rules_of(t.cluster, token, "default") == before | more, 10, "the rights to drain")
    t.cluster.kubectl("delete", "-f", path)
    wait_until(lambda: rules_of(t.cluster, token, "default") == before, 10, "the rights are gone")


@test
def test_node_policy(t):
    """A pod's token writes its own node and gpucc's keys there; everything else is denied with a reason."""
    deploy = DEPLOY + "vfio-manager"
    for name in ("policy-own", "policy-other"):
        t.cluster.create_node(name, {deploy: "true", "example.com/team": "a"})
    token = e2e.AgentIdentity(t.cluster, "policy-own").token()

    def patch(body, node="policy-own", **options):
        return t.cluster.request("PATCH", f"/api/v1/nodes/{node}?fieldManager=gpucc", body, kind=MERGE, token=token,
                                 **options)

    done = patch({"metadata": {"labels": {STATE: "success", READY: "", deploy: e2e.PAUSED},
                               "annotations": {STATUS: "{}"}}})
    assert done["metadata"]["labels"][deploy] == e2e.PAUSED
    patch({"metadata": {"labels": {STATE: None, READY: None, deploy: "true"}, "annotations": {STATUS: None}}})

    for body, words in (
            ({"metadata": {"labels": {MODE: "off"}}}, "writes the labels"),
            ({"metadata": {"labels": {"example.com/team": "b"}}}, "writes the labels"),
            ({"metadata": {"labels": {"example.com/team": None}}}, "removes no label"),
            ({"metadata": {"labels": {DEPLOY + "invented": "true"}}}, "writes the labels"),
            ({"metadata": {"labels": {deploy: None}}}, "removes no label"),
            ({"metadata": {"annotations": {"example.com/note": "x"}}}, "annotation cc.status"),
            ({"metadata": {"finalizers": ["example.com/stay"]}}, "nothing else"),
            ({"spec": {"unschedulable": True}}, "nothing else"),
            ({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}, "nothing else")):
        try:
            patch(body)
            raise AssertionError(f"{body} was allowed")
        except e2e.ApiError as e:
            assert e.code == 422 and words in str(e), (body, str(e))
    try:
        patch({"metadata": {"labels": {STATE: "success"}}}, node="policy-other")
        raise AssertionError("another node was written")
    except e2e.ApiError as e:
        assert e.code == 422 and "the node its pod runs on" in str(e), str(e)
    # Nobody else is held by it.
    t.cluster.label("policy-own", "example.com/team", "b")


@test
def test_metadata_watch_with_bookmarks(t):
    """A reflector's watch: metadata only, one node, bookmarks; the first line is the change after the list."""
    node = t.cluster.create_node("watched")
    version = node["metadata"]["resourceVersion"]
    t.cluster.label("watched", MODE, "devtools")
    token = e2e.AgentIdentity(t.cluster, "watched").token()
    query = ("/api/v1/nodes?watch=true&allowWatchBookmarks=true&timeoutSeconds=3&fieldSelector="
             f"metadata.name%3Dwatched&resourceVersion={version}")
    events = list(t.cluster.watch(query, token=token, accept=PARTIAL))
    kinds = [e["type"] for e in events]
    assert kinds[0] == "MODIFIED" and "BOOKMARK" in kinds, kinds
    assert events[0]["object"]["kind"] == "PartialObjectMetadata"
    assert events[0]["object"]["metadata"]["labels"][MODE] == "devtools" and "spec" not in events[0]["object"]


@test
def test_operator_stand_in(t):
    """A deploy label that is not `true` makes the operand's pod go, and `true` brings it back."""
    t.cluster.create_node("operands", {DEPLOY + "vfio-manager": "true", DEPLOY + "sandbox-validator": "false"})
    t.operator.adopt("operands", ["vfio-manager", "sandbox-validator"])
    t.defer(t.operator.release, "operands")

    def names():
        return [p["metadata"]["name"] for p in t.operator.pods("operands")]
    wait_until(lambda: names() == ["nvidia-vfio-manager-operands"], 20, "the operand's pod")
    t.cluster.label("operands", DEPLOY + "vfio-manager", e2e.PAUSED)
    wait_until(lambda: names() == [], 20, "no operand's pod")
    t.cluster.label("operands", DEPLOY + "vfio-manager", "true")
    wait_until(lambda: names() == ["nvidia-vfio-manager-operands"], 20, "the operand's pod back")


@test(alone=True)
def test_token_expires(t):
    """Tokens end when they say so, also for a client that was let in before: what the rotation test relies on."""
    t.cluster.create_node("rotating")
    agent = e2e.AgentIdentity(t.cluster, "rotating")
    token = agent.short_token(3)
    path = "/api/v1/nodes/rotating"
    t.cluster.request("GET", path, token=token)

    def gone():
        try:
            t.cluster.request("GET", path, token=token)
        except e2e.ApiError as e:
            return e.code == 401
    begin = time.monotonic()
    wait_until(gone, 30, "the expired token is refused", every=0.5)
    t.note(f"refused after {time.monotonic() - begin:.0f} s")
    t.cluster.request("GET", path, token=agent.token())
    assert any(e["responseStatus"]["code"] == 401 for e in t.cluster.audit() if "responseStatus" in e)


@test(alone=True)
def test_compaction_expires_watches(t):
    """Compaction while the server is away: an old resourceVersion is answered 410 Expired afterwards."""
    node = t.cluster.create_node("compacted")
    for n in range(3):
        t.cluster.label("compacted", "example.com/n", str(n))
    t.cluster.stop_api()
    t.cluster.compact()
    t.note(f"restart {t.cluster.start_api():.1f} s")
    token = e2e.AgentIdentity(t.cluster, "compacted").token()
    version = node["metadata"]["resourceVersion"]
    events = list(t.cluster.watch("/api/v1/nodes?watch=true&timeoutSeconds=5&fieldSelector=metadata.name%3Dcompacted"
                                  f"&resourceVersion={version}", token=token, accept=PARTIAL))
    assert [e["type"] for e in events] == ["ERROR"] and events[0]["object"]["code"] == 410, events
