# SPDX-License-Identifier: Apache-2.0
"""kubesim answers as the real API server does: the same requests to both, the answers compared.

Compared are code, kind, reason, the causes' fields, the shape of metadata and, of watches, the events. Texts are not.
"""

import http.client
import json

from e2e import MERGE, test
from simlib import Kube, closing

JSON = "application/json"
STRATEGIC = "application/strategic-merge-patch+json"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
NODE = "/api/v1/nodes/agree"
NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
PODS = "/api/v1/namespaces/default/pods"
ABOUT = {"kind": "Node", "name": "agree", "apiVersion": "v1"}


def labels(**values):
    return {"metadata": {"labels": values}}


def meta(**values):
    return {"metadata": values}


def pod(name):
    return {"metadata": {"name": name}, "spec": {"nodeName": "agree", "automountServiceAccountToken": False,
                                                 "containers": [{"name": "c", "image": "i"}]}}


# method, path, content type, Accept, body. In this order, because later ones see what earlier ones did.
ROWS = [
    ("GET", NODE, None, None, None),
    ("GET", NODES + "/none", None, None, None),
    ("GET", NODES + "?fieldSelector=metadata.name%3Dagree", None, None, None),
    ("GET", NODES + "?fieldSelector=metadata.name%3Dnone", None, None, None),
    ("GET", NODES + "?labelSelector=agree%3Dyes", None, None, None),
    ("GET", NODES + "?labelSelector=agree%3D%3Dno", None, None, None),
    ("GET", NODES + "?labelSelector=agree%20yes", None, None, None),
    ("GET", NODES + "?fieldSelector=spec.nodeName%3Dx", None, None, None),
    ("GET", NODES + "?fieldSelector=metadata.name", None, None, None),
    ("GET", NODES + "?resourceVersion=x", None, None, None),
    ("GET", NODES + "?resourceVersion=0&labelSelector=agree%3Dyes", None, None, None),
    ("GET", NODE, None, PARTIAL, None),
    ("GET", NODES + "?labelSelector=agree%3Dyes", None, PARTIAL_LIST, None),
    ("GET", NODES + "?labelSelector=agree%3Dyes", None, PARTIAL, None),
    ("GET", NODE, None, PARTIAL_LIST, None),
    ("GET", NODE, None, TABLE, None),
    ("GET", NODE, None, "application/xml", None),
    ("GET", "/api/v1/gizmos", None, None, None),
    ("GET", "/apis/none.example.com/v1", None, None, None),
    ("GET", "/apis/none.example.com/v1/namespaces/default/gizmos/x", None, None, None),
    ("GET", PODS + "/none", None, None, None),
    ("GET", PODS + "?fieldSelector=spec.nodeName%3Dagree", None, None, None),
    ("GET", "/api/v1/namespaces/none/pods", None, None, None),
    ("PATCH", NODE, MERGE, None, labels(a="b")),
    ("PATCH", NODE, MERGE, PARTIAL, labels(a="c")),
    ("PATCH", NODE + "?fieldManager=gpucc", MERGE, None, labels(a=None, c="")),
    ("PATCH", NODE, STRATEGIC, None, labels(a="b")),
    ("PATCH", NODE, JSON, None, labels(a="b")),
    ("PATCH", NODE, MERGE, None, b"{"),
    ("PATCH", NODE, MERGE, None, b"[]"),
    ("PATCH", NODE, MERGE, None, labels(a="b c")),
    ("PATCH", NODE, MERGE, None, labels(a="x" * 64)),
    ("PATCH", NODE, MERGE, None, labels(a=1)),
    ("PATCH", NODE, MERGE, None, {"metadata": {"labels": {"a b": "c"}}}),
    ("PATCH", NODE, MERGE, None, meta(labels=["a"])),
    ("PATCH", NODE, MERGE, None, {"metadata": {"annotations": {"a b": "c"}}}),
    ("PATCH", NODE, MERGE, None, {"metadata": {"annotations": {"a": "x" * 262144}}}),
    ("PATCH", NODE, MERGE, None, {"metadata": {"annotations": {"a": "x" * 200000}}}),
    ("PATCH", NODE, MERGE, None, {"metadata": {"annotations": {"a": None}}}),
    ("PATCH", NODE, MERGE, None, meta(name="other")),
    ("PATCH", NODE, MERGE, None, meta(resourceVersion="1")),
    ("PATCH", NODE, MERGE, None, meta(uid="00000000-0000-0000-0000-000000000000")),
    ("PUT", NODE, JSON, None, {"metadata": {"name": "agree", "uid": "00000000-0000-0000-0000-000000000000"}}),
    ("PUT", NODE, JSON, None, {"metadata": {"name": "agree", "resourceVersion": "1"}}),
    ("PUT", NODE, JSON, None, {"metadata": {"name": "other"}}),
    ("PUT", NODE, JSON, None, {"metadata": {"name": "agree", "labels": {"a": 1}}}),
    ("PUT", NODES + "/none", JSON, None, {"metadata": {"name": "none"}}),
    ("PATCH", NODE + "/status", MERGE, None, {"status": {"phase": "Running"}}),
    ("PATCH", NODE + "/nonsense", MERGE, None, {}),
    ("PATCH", NODE, MERGE, None, {"metadata": "x"}),
    ("PATCH", NODE, MERGE, None, {"kind": "Pod"}),
    ("PATCH", NODE + "?dryRun=All", MERGE, None, labels(dry="run")),
    ("PATCH", NODES + "/none", MERGE, None, labels(a="b")),
    ("PATCH", NODES, MERGE, None, labels(a="b")),
    ("POST", NODES, JSON, None, {"metadata": {"name": "agree"}}),
    ("POST", NODES, JSON, None, {"metadata": {"name": "Not_A_Name"}}),
    ("POST", NODES, JSON, None, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}),
    ("POST", NODES, "application/x-odd", None, {"metadata": {"name": "x"}}),
    ("POST", EVENTS, JSON, None, {"metadata": {"generateName": "agree-"}, "involvedObject": ABOUT, "type": "Normal",
                                  "reason": "Agreed", "message": "m"}),
    ("POST", EVENTS, JSON, None, {"metadata": {"name": "agree.1"}, "involvedObject": ABOUT}),
    ("POST", EVENTS, JSON, None, {"metadata": {"name": "agree.1"}, "involvedObject": ABOUT}),
    ("POST", EVENTS, JSON, None, {"metadata": {}, "involvedObject": ABOUT}),
    ("POST", EVENTS, JSON, None, {"metadata": {"name": "agree.2"}, "involvedObject": {**ABOUT, "namespace": "x"}}),
    ("POST", "/api/v1/namespaces/kube-system/events", JSON, None,
     {"metadata": {"name": "agree.3"}, "involvedObject": ABOUT}),
    ("POST", "/api/v1/namespaces/none/events", JSON, None, {"metadata": {"name": "agree.4"}, "involvedObject": ABOUT}),
    ("POST", EVENTS, JSON, None, {"metadata": {"name": "agree.5", "namespace": "x"}, "involvedObject": ABOUT}),
    ("POST", "/api/v1/events", JSON, None, {"metadata": {"name": "agree.6"}, "involvedObject": ABOUT}),
    ("GET", EVENTS + "?fieldSelector=involvedObject.name%3Dagree,reason%3DAgreed", None, None, None),
    ("PATCH", EVENTS + "/agree.1", MERGE, None, {"count": 2}),
    ("POST", PODS, JSON, None, pod("agree")),
    ("POST", PODS, JSON, PARTIAL, pod("agree-2")),
    ("DELETE", PODS + "/agree-2", None, PARTIAL, None),
    ("GET", PODS + "/agree-2", None, None, None),
    ("POST", PODS + "/agree/eviction", JSON, None, {"kind": "Pod"}),
    ("POST", PODS + "/none/eviction", JSON, None,
     {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "none"}}),
    ("POST", PODS + "/agree/eviction", JSON, None,
     {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "agree"}}),
    ("GET", PODS + "/agree", None, None, None),
    ("DELETE", PODS + "/agree", JSON, None, {"gracePeriodSeconds": 0}),
    ("GET", PODS + "/agree", None, None, None),
    ("DELETE", NODE, JSON, None, {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}),
    ("GET", NODES + "?watch=1&resourceVersion=x", None, None, None),
    ("GET", "/version", None, None, None),
    ("GET", "/api", None, None, None),
    ("GET", "/apis", None, None, None),
    ("GET", "/api/v1", None, None, None),
    ("GET", "/apis/apps/v1", None, None, None),
    ("DELETE", NODE, None, None, None),
]


def shape(code, text):
    """What of an answer has to agree."""
    try:
        answer = json.loads(text)
    except ValueError:
        return {"code": code, "text": text[:40]}
    if answer.get("kind") == "Status":
        details = answer.get("details", {})
        return {"code": code, "kind": "Status", "status": answer["status"], "reason": answer.get("reason"),
                "about": [details.get("name"), details.get("kind"), details.get("group")],
                "causes": sorted({(c.get("reason"), c.get("field")) for c in details.get("causes", [])})}
    metadata = answer.get("metadata", {})
    found = {"code": code, "kind": answer.get("kind"), "apiVersion": answer.get("apiVersion"),
             "name": metadata.get("name"), "leaving": "deletionTimestamp" in metadata,
             "versioned": "resourceVersion" in metadata}
    if "items" in answer:
        found["items"] = [(i.get("kind"), i.get("apiVersion"), "spec" in i or "reason" in i) for i in answer["items"]]
    if metadata.get("name") == "agree":
        found["labels"] = {k: v for k, v in metadata.get("labels", {}).items() if "/" not in k}
    if (metadata.get("name") or "").startswith("agree-"):
        found["name"] = "agree-" + "?" * (len(metadata["name"]) - 6)
    return found


class Real:
    def __init__(self, cluster):
        self.connection = cluster.connection()

    def ask(self, method, path, headers, body):
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response.status, response.read().decode()


    def watch(self, query):
        """(status, response) of a watch on nodes, metadata only."""
        self.connection.request("GET", f"{NODES}?watch=1{query}", None, {"Accept": PARTIAL})
        response = self.connection.getresponse()
        return response.status, response


class Simulated(Real):
    def __init__(self, kube):
        self.connection = http.client.HTTPConnection(kube.address, timeout=30)


def outcome(server, row):
    method, path, content_type, accept, body = row
    headers = {"Accept": accept or JSON, **({"Content-Type": content_type} if content_type else {})}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return shape(*server.ask(method, path, headers, body))


@test
def test_kubesim_agrees(t):
    t.cluster.create_node("agree", {"agree": "yes"})
    t.cluster.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    differences = []
    with closing(Kube(t.dir, "--operator-leave=60s", nodes=["agree"], labels={"agree": "yes"}, operator=False)) as kube:
        real, simulated = Real(t.cluster), Simulated(kube)
        for row in ROWS:
            wanted, got = outcome(real, row), outcome(simulated, row)
            for key in wanted:
                if wanted[key] != got.get(key):
                    what = f"{row[0]} {row[1]} {str(row[4] or '')[:60]}"
                    differences.append(f"{what}: {key} is {got.get(key)!r}, the real server says {wanted[key]!r}")
    assert not differences, "\n  " + "\n  ".join(differences)
    t.note(f"{len(ROWS)} requests")


def seen(response):
    """What of a watch's next line has to agree; None at its end."""
    text = response.readline()
    if not text:
        return None
    event = json.loads(text)
    metadata = event["object"].get("metadata", {})
    return (event["type"], event["object"]["kind"], event["object"].get("code"), metadata.get("name"),
            metadata.get("labels", {}).get("x"))


def watched(new_connection):
    """The lines that two watches show of the same changes."""
    other = new_connection()
    node = json.loads(other.ask("GET", f"{NODES}/watched", {}, None)[1])
    version = node["metadata"]["resourceVersion"]
    lines = []

    def patch(**values):
        assert other.ask("PATCH", f"{NODES}/watched", {"Content-Type": MERGE}, json.dumps(labels(**values)))[0] == 200

    plain = new_connection().watch(f"&resourceVersion={version}&fieldSelector=metadata.name%3Dwatched")[1]
    selective = new_connection().watch(f"&resourceVersion={version}&labelSelector=x%3D1")[1]
    for values in ({"x": "1"}, {"y": "1"}, {"x": "2"}, {"x": "3"}, {"x": "1"}):
        patch(**values)
    lines += ["plain", *[seen(plain) for _ in range(5)], "selective", *[seen(selective) for _ in range(4)]]
    short = new_connection().watch(
        "&fieldSelector=metadata.name%3Dwatched&allowWatchBookmarks=true&timeoutSeconds=3")[1]
    lines += ["short", seen(short), seen(short)]
    while (last := seen(short)) and last[0] == "BOOKMARK":
        pass  # the real server may send more than one towards the end
    lines.append(last)
    other.ask("DELETE", f"{NODES}/watched", {}, None)
    lines += ["deleted", seen(plain), seen(selective)]
    return lines


@test
def test_kubesim_watches_agree(t):
    t.cluster.create_node("watched")
    with closing(Kube(t.dir, nodes=["watched"], operator=False)) as kube:
        wanted, got = watched(lambda: Real(t.cluster)), watched(lambda: Simulated(kube))
    differences = [f"{g} instead of {w}" for w, g in zip(wanted, got) if w != g]
    assert not differences and len(wanted) == len(got), "\n  " + "\n  ".join(differences)
    t.note(f"{len(wanted) - 4} lines")
