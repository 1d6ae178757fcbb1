#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubesim as a process: every fault as a client meets it, watches, tokens, the operator's pods, `kubesim ctl`.

The API's own answers are tested in test/unit/test_kubemodel_*.c; here it is about bytes on a connection.
"""

import contextlib
import http.client
import json
import os
import resource
import socket
import threading
import time

import simlib
from simlib import Kube, closing, run, test, wait_until

NODE = "/api/v1/nodes/n1"
MERGE = {"Content-Type": "application/merge-patch+json"}


class Client:
    """A connection with the server's token, for one test's requests."""

    def __init__(self, kube, timeout=10, token=None):
        self.kube, self.timeout = kube, timeout
        self.token = (kube.dir / "token").read_text() if token is None else token
        self.connection = http.client.HTTPConnection(kube.address, timeout=timeout)

    def open(self, method, path, body=None, headers=None):
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": "kubesim-test", **(headers or {})}
        self.connection.request(method, path, body, headers)
        return self.connection.getresponse()

    def ask(self, method, path, body=None, headers=None):
        response = self.open(method, path, body, headers)
        return response.status, response.read()

    def get(self, path=NODE):
        return self.ask("GET", path)

    def patch(self, labels):
        return self.ask("PATCH", NODE, json.dumps({"metadata": {"labels": labels}}), MERGE)

    def watch(self, query="", path="/api/v1/nodes"):
        response = self.open("GET", f"{path}?watch=1{query}")
        assert response.status == 200, response.status
        return response

    def close(self):
        self.connection.close()


@contextlib.contextmanager
def server(folder, *options, **more):
    """A kubesim that has to end well, too: sanitizers speak up then."""
    with closing(Kube(folder, *options, **more)) as kube:
        yield kube
    assert kube.process.returncode == 0, simlib.tail(kube.stderr, 30)


def line(response):
    return json.loads(response.readline())


def expect(kind, function, *arguments):
    """function(*arguments) has to raise `kind`."""
    try:
        result = function(*arguments)
    except kind as e:
        return e
    raise AssertionError(f"no {kind} but {str(result)[:200]}")


def label_of(kube, key="x"):
    return kube.labels().get(key)


def silent(function, *arguments):
    """The call ends in the client's own time-out."""
    expect(TimeoutError, function, *arguments)


# ---- answers that are not done ------------------------------------------------------------------------------------

STATUSES = [
    ("status:409", 409, "Conflict"), ("status:410", 410, "Expired"), ("status:410,reason=Gone", 410, "Gone"),
    ("status:429,retry-after=7", 429, "TooManyRequests"), ("status:500", 500, "InternalError"),
    ("status:503", 503, "ServiceUnavailable"), ("status:401", 401, "Unauthorized"), ("status:403", 403, "Forbidden"),
]


def status(spec, code, reason):
    def check(folder):
        with server(folder) as kube, closing(Client(kube)) as client:
            kube.fault(f"{spec},verb=patch")
            got, text = client.patch({"x": "1"})
            body = json.loads(text)
            assert got == code and body["kind"] == "Status" and body["code"] == code, (got, body)
            assert body["reason"] == reason and body["status"] == "Failure", body
            assert label_of(kube) is None, "the request was done all the same"
            assert client.patch({"x": "1"})[0] == 200, "the fault struck twice, or the connection is spoiled"
    return check


for spec, code, reason in STATUSES:
    simlib.add(f"answer {spec}", status(spec, code, reason))


@test
def retry_after_is_a_header(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        kube.fault("status:429,retry-after=7")
        response = client.open("GET", NODE)
        response.read()
        assert response.status == 429 and response.headers["Retry-After"] == "7", response.headers


@test
def evictions_are_refused_by_script(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        pod = json.loads(client.get("/api/v1/namespaces/gpu-operator/pods")[1])["items"][0]["metadata"]["name"]
        path = f"/api/v1/namespaces/gpu-operator/pods/{pod}/eviction"
        body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}})
        kube.fault("status:429,retry-after=1,path=/eviction,count=2")
        codes = [client.ask("POST", path, body, {"Content-Type": "application/json"})[0] for _ in range(3)]
        assert codes == [429, 429, 201], codes


# ---- connections that break ---------------------------------------------------------------------------------------

RESETS = [("reset-before", None), ("reset-after", None), ("reset-applied", "1"), ("reset-middle", "1")]


def reset(spec, label):
    def check(folder):
        with server(folder) as kube, closing(Client(kube)) as client:
            kube.fault(f"{spec},verb=patch")
            expect((ConnectionResetError, http.client.IncompleteRead), client.patch, {"x": "1"})
            assert label_of(kube) == label, f"x is {label_of(kube)}, not {label}"
            client.close()
            assert client.get()[0] == 200, "a new connection works"
    return check


for spec, label in RESETS:
    simlib.add(spec, reset(spec, label))


@test
def reset_middle_sends_half(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        kube.fault("reset-middle")
        response = client.open("GET", NODE)
        assert response.status == 200
        wanted = int(response.headers["Content-Length"])
        got = b""
        try:
            while chunk := response.read1():
                got += chunk
        except (ConnectionResetError, http.client.IncompleteRead):
            pass
        assert 0 < len(got) < wanted, (len(got), wanted)


@test
def close_after_the_answer(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        kube.fault("close,n=2")
        assert client.get()[0] == 200
        sock = client.connection.sock
        assert client.get()[0] == 200
        assert sock.recv(1) == b"", "still open after the second request"


@test
def hang(folder):
    with server(folder) as kube, closing(Client(kube, timeout=1)) as client:
        kube.fault("hang,verb=patch")
        silent(client.patch, {"x": "1"})
        assert label_of(kube) is None
        kube.fault_clear()
        kube.fault("hang-applied,verb=patch")
        client.close()
        silent(client.patch, {"x": "2"})
        wait_until(lambda: label_of(kube) == "2", 20, "the label")


@test
def half_an_answer_then_silence(folder):
    with server(folder) as kube, closing(Client(kube, timeout=3)) as client:
        kube.fault("half-line")
        response = client.open("GET", NODE)
        wanted, got = int(response.headers["Content-Length"]), b""
        try:
            while True:
                got += response.read1()
        except TimeoutError:
            pass
        assert len(got) == wanted // 2, (len(got), wanted)


@test
def slow_bytes(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        kube.fault("slow,bytes=1000,ms=20")
        begin = time.monotonic()
        code, text = client.get()
        seconds = time.monotonic() - begin
        assert code == 200 and json.loads(text)["kind"] == "Node"
        ticks = len(text) // 1000
        assert seconds >= ticks * 0.02, f"{len(text)} bytes in {seconds:.3f} s"
        assert client.get()[0] == 200 and kube.fault_hits() == {"slow,bytes=1000,ms=20": 1}


# ---- bodies that are wrong ----------------------------------------------------------------------------------------

@test
def wrong_bodies(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        def spoiled(spec):
            kube.fault(spec)
            code, text = client.get()
            assert code == 200
            return text
        whole = client.get()[1]
        cut = spoiled("truncated")
        assert whole.startswith(cut.rstrip(b"\n")) and len(cut) <= len(whole) // 2 + 1
        assert b"<html>" in spoiled("not-json")
        text = spoiled("huge")
        assert len(text) > 64 << 20 and json.loads(text)["metadata"]["name"] == "n1"
        text = spoiled("nested")
        assert text.count(b"[") > 100000 and text.endswith(b"]}\n")
        node = json.loads(spoiled("wrong-types,field=metadata.labels"))
        assert node["metadata"]["labels"] == "text" and node["metadata"]["name"] == "n1", node
        assert json.loads(spoiled("wrong-types"))["metadata"] == "text"
        assert client.get()[1] == whole, "the connection is good again"


# ---- watches ------------------------------------------------------------------------------------------------------

@test
def watches_stream(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        watch = client.watch("&fieldSelector=metadata.name%3Dn1")
        assert line(watch)["type"] == "ADDED"
        kube.label({"x": "1"})
        event = line(watch)
        assert event["type"] == "MODIFIED" and event["object"]["metadata"]["labels"]["x"] == "1"
        kube.label({"x": None})
        assert "x" not in line(watch)["object"]["metadata"]["labels"]


@test
def watches_end_in_time_and_the_connection_goes_on(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        begin = time.monotonic()
        watch = client.watch("&timeoutSeconds=1")
        assert line(watch)["type"] == "ADDED"
        assert watch.read() == b""
        assert 0.9 < time.monotonic() - begin < 20
        sock = client.connection.sock
        assert client.get()[0] == 200 and client.connection.sock is sock


WATCH_FAULTS = [
    ("half-line,event=2", "silence"), ("reset-middle,event=2", "reset"), ("close,event=2", "end after"),
    ("truncated,event=2", "no JSON"), ("not-json,event=2", "no JSON"), ("huge,event=2,bytes=3000000", "huge"),
    ("nested,event=2,depth=5000", "nested"), ("wrong-types,event=2,field=object.metadata", "types"),
    ("error-event:410,event=2", "error"), ("error-event:500,event=2", "error"),
]


def watch_fault(spec, outcome):
    def check(folder):
        with server(folder) as kube, closing(Client(kube, timeout=1 if outcome == "silence" else 30)) as client:
            kube.fault(f"{spec},verb=watch")
            watch = client.watch()
            assert line(watch)["type"] == "ADDED"
            kube.label({"x": "1"})
            if outcome == "silence":
                silent(watch.readline)
                return
            if outcome == "reset":
                expect((ConnectionResetError, http.client.IncompleteRead), watch.read)
                return
            text = watch.readline()
            if outcome == "no JSON":
                expect(ValueError, json.loads, text)
            elif outcome == "huge":
                assert len(text) > 3000000 and json.loads(text)["type"] == "MODIFIED"
            elif outcome == "nested":
                assert text.count(b"[") >= 5000
            elif outcome == "types":
                assert json.loads(text)["object"]["metadata"] == "text"
            elif outcome == "error":
                event = json.loads(text)
                assert event["type"] == "ERROR" and event["object"]["kind"] == "Status"
                assert watch.read() == b"", "a watch ends behind its ERROR"
                return
            else:
                assert json.loads(text)["type"] == "MODIFIED"
                expect(http.client.IncompleteRead, watch.read)
                return
            kube.label({"x": "2"})
            assert line(watch)["type"] == "MODIFIED", "the stream goes on behind the bad line"
    return check


for spec, outcome in WATCH_FAULTS:
    simlib.add(f"watch {spec}", watch_fault(spec, outcome))


@test
def a_watch_can_be_silent_from_its_head_on(folder):
    with server(folder) as kube, closing(Client(kube, timeout=2)) as client:
        kube.fault("hang-applied,verb=watch")
        silent(client.watch().readline)


@test
def slow_watches_lose_nothing(folder):
    with server(folder, operator=False) as kube, closing(Client(kube)) as client:
        kube.fault("slow,bytes=4000,ms=2,verb=watch")
        watch = client.watch()
        kube.control("POST", "churn?node=n1&count=100&rate=0")
        versions = [line(watch)["object"]["metadata"]["resourceVersion"] for _ in range(101)]
        assert len(set(versions)) == 101 and versions == sorted(versions, key=int)


@test
def compaction_is_gone(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        version = json.loads(client.get("/api/v1/nodes")[1])["metadata"]["resourceVersion"]
        kube.label({"x": "1"})
        kube.control("POST", "compact")
        event = line(client.watch(f"&resourceVersion={version}"))
        assert event["type"] == "ERROR" and event["object"]["code"] == 410, event
        client.close()
        kube.control("POST", "gone?as=http")
        assert client.get(f"/api/v1/nodes?watch=1&resourceVersion={version}")[0] == 410


@test
def a_reader_that_stops_falls_out_of_history(folder):
    with server(folder, "--history=50", operator=False) as kube, closing(Client(kube)) as client:
        client.connection.connect()
        client.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        watch = client.watch()
        line(watch)
        kube.control("POST", "churn?node=n1&count=5000&rate=0")
        wait_until(lambda: json.loads(kube.control("GET", "churn"))["done"] == 5000, 20, "churn")
        types = [json.loads(text)["type"] for text in watch]
        assert types[-1] == "ERROR" and set(types[:-1]) == {"MODIFIED"}, types[-3:]
        assert len(types) < 5000


@test
def bookmarks_on_demand(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        watch = client.watch("&allowWatchBookmarks=true")
        assert line(watch)["type"] == "ADDED"
        kube.control("POST", "bookmarks?count=60")
        for _ in range(60):
            assert line(watch)["type"] == "BOOKMARK"


@test
def all_watches_are_dropped(folder):
    with server(folder) as kube, closing(Client(kube)) as one, closing(Client(kube)) as two:
        watches = [one.watch(), two.watch()]
        for watch in watches:
            line(watch)
        kube.control("POST", "drop-watches")
        for watch in watches:
            expect((ConnectionResetError, http.client.IncompleteRead), watch.read)


@test
def faults_of_the_server_strike_by_request(folder):
    with server(folder) as kube, closing(Client(kube)) as client, closing(Client(kube)) as other:
        watch = other.watch()
        line(watch)
        kube.fault("drop-watches,verb=patch")
        assert client.patch({"x": "1"})[0] == 200
        expect((ConnectionResetError, http.client.IncompleteRead), watch.read)


@test
def outage(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        watch = client.watch()
        line(watch)
        begin = time.monotonic()
        kube.control("POST", "outage?ms=2000")
        expect((ConnectionResetError, http.client.IncompleteRead), watch.read)
        client.close()
        expect(ConnectionRefusedError, client.get)

        def back():
            client.close()
            try:
                return client.get()[0] == 200
            except ConnectionRefusedError:
                return False
        wait_until(back, 20, "the server again")
        assert time.monotonic() - begin >= 0.4


# ---- tokens -------------------------------------------------------------------------------------------------------

@test
def tokens(folder):
    with server(folder, "--no-anonymous") as kube, closing(Client(kube)) as client:
        assert client.get()[0] == 200
        assert Client(kube, token="wrong").get()[0] == 401
        kube.control("POST", "expire-token")
        assert client.get()[0] == 401
        kube.control("POST", "rotate-token")
        client.token, old = (kube.dir / "token").read_text(), client.token
        assert client.token != old and client.get()[0] == 200
        kube.control("POST", "rotate-token?keep=true")
        assert client.get()[0] == 200, "the old token is good for a while"
        assert "tokenFile" in kube.kubeconfig.read_text()


@test
def a_token_expires_at_a_request(folder):
    with server(folder) as kube, closing(Client(kube)) as client:
        kube.fault("expire-token,n=2")
        assert [client.get()[0] for _ in range(3)] == [200, 401, 401]


# ---- scripts ------------------------------------------------------------------------------------------------------

@test
def a_script_file_is_read_again(folder):
    script = folder / "script"
    script.write_text("# nothing yet\n")
    with server(folder, f"--faults={script}") as kube, closing(Client(kube)) as client:
        assert client.get()[0] == 200
        script.write_text("status:503,count=2\n")
        assert [client.get()[0] for _ in range(3)] == [503, 503, 200]
        script.write_text("nonsense\n")
        assert client.get()[0] == 200
        assert "nonsense" in kube.stderr.read_text()


@test
def faults_on_the_command_line_and_their_hits(folder):
    with server(folder, "--fault=status:500,n=2", "--fault=status:503,verb=patch") as kube:
        with closing(Client(kube)) as client:
            assert [client.get()[0] for _ in range(3)] == [200, 500, 200]
            assert kube.fault_hits() == {"status:500,n=2": 1, "status:503,verb=patch": 0}
            status, text = kube.call("POST", "/kubesim/faults", "explode\n")
            assert status == 400 and b"explode" in text


@test
def the_log_says_what_was_asked(folder):
    log = folder / "log"
    with server(folder, f"--log={log}") as kube, closing(Client(kube)) as client:
        kube.fault("status:503,n=2")
        client.get()
        client.patch({"x": "1"})
        watch = client.watch()
        line(watch)
        client.close()
        wait_until(lambda: len(log.read_text().splitlines()) == 4, 20, "four lines")
        rows = [json.loads(row) for row in log.read_text().splitlines()]
        assert [r["verb"] for r in rows] == ["get", "patch", "watch", "watch-end"], rows
        assert [r["n"] for r in rows] == [1, 2, 3, 3] and [r["status"] for r in rows] == [200, 503, 200, 200]
        assert rows[0]["path"] == NODE and rows[0]["agent"] == "kubesim-test" and rows[0]["bytes"] > 1000
        assert rows[1]["fault"] == "status:503,n=2" and rows[3]["bytes"] > 0
        traffic = kube.traffic()
        assert traffic["count"] == 3 and traffic["bytesOut"] > 2000 and len(traffic["items"]) == 4
        kube.traffic_reset()
        assert kube.traffic()["count"] == 0
        assert client.token not in log.read_text()


# ---- HTTP ---------------------------------------------------------------------------------------------------------

def raw(kube, text, seconds=20.0):
    """What comes back for these bytes until the server closes or is silent."""
    host, port = kube.address.split(":")
    got = b""
    with socket.create_connection((host, int(port)), timeout=seconds) as s:
        s.sendall(text)
        try:
            while chunk := s.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return got


@test
def bad_http_is_refused(folder):
    cases = [b"nonsense\r\n\r\n", b"GET /version HTTP/1.0\r\n\r\n", b"GET version HTTP/1.1\r\n\r\n",
             b"GET /version HTTP/1.1\r\nno colon\r\n\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
             b"GET /version HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET /" + b"\0 HTTP/1.1\r\n\r\n",
             b"PATCH /api/v1/nodes/n1 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
             b"PATCH /api/v1/nodes/n1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
             b"GET /\xff HTTP/1.1\r\n\r\n", b"X" * 70000]
    with server(folder) as kube:
        for case in cases:
            got = raw(kube, case)
            assert got.startswith(b"HTTP/1.1 400 "), (case[:60], got[:100])
        assert kube.node()["metadata"]["name"] == "n1", "the server lives"


@test
def requests_may_come_in_pieces_and_together(folder):
    body = b'{"metadata":{"labels":{"x":"1"}}}'
    patch = (b"PATCH " + NODE.encode() + b" HTTP/1.1\r\nContent-Type: application/merge-patch+json\r\n")
    with server(folder) as kube:
        host, port = kube.address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as s:
            for byte in patch + b"Content-Length: %d\r\n\r\n" % len(body) + body:
                s.send(bytes([byte]))
            assert s.recv(100).startswith(b"HTTP/1.1 200 ")
        assert label_of(kube) == "1"
        chunked = patch + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5)
        chunked += body[5:].replace(b'"1"', b'"2"') + b"\r\n0\r\n\r\n"
        got = raw(kube, chunked + b"GET /version HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert got.count(b"HTTP/1.1 200 ") == 2, got[:200]
        assert label_of(kube) == "2"
        expecting = patch + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert raw(kube, expecting.replace(b"Expect", b"Connection: close\r\nExpect") + body).startswith(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


# ---- the operator -------------------------------------------------------------------------------------------------

VFIO = simlib.DEPLOY + "vfio-manager"


@test
def operands_leave_and_return(folder):
    with server(folder, leave_ms=200, return_ms=200) as kube, closing(Client(kube)) as client:
        assert "nvidia-vfio-manager" in kube.pods() and len(kube.pods()) == 5, kube.pods()
        watch = client.watch(path="/api/v1/namespaces/gpu-operator/pods", query="&resourceVersion=" + json.loads(
            client.get("/api/v1/pods")[1])["metadata"]["resourceVersion"])
        begin = time.monotonic()
        kube.label({VFIO: simlib.PAUSED})
        event = line(watch)
        assert event["type"] == "MODIFIED" and event["object"]["metadata"]["deletionTimestamp"], event
        event = line(watch)
        assert event["type"] == "DELETED" and time.monotonic() - begin >= 0.195, event
        assert event["object"]["metadata"]["ownerReferences"][0]["name"] == "nvidia-vfio-manager"
        begin = time.monotonic()
        kube.label({VFIO: "true"})
        assert line(watch)["type"] == "ADDED" and time.monotonic() - begin >= 0.195


@test
def a_stuck_operand_never_leaves(folder):
    with server(folder, "--operator-stuck=vfio-manager") as kube:
        kube.label({VFIO: simlib.PAUSED})

        def pods():
            return [p for p in kube.request("GET", "/api/v1/pods")["items"]
                    if p["metadata"]["ownerReferences"][0]["name"] == "nvidia-vfio-manager"]
        time.sleep(0.3)
        assert pods() and "deletionTimestamp" in pods()[0]["metadata"]
        kube.control("POST", "stick?operand=vfio-manager&on=false")
        wait_until(lambda: not pods(), 20, "the pod to leave")


# ---- ctl, and kubesim as a command --------------------------------------------------------------------------------

def ctl(kube, *arguments, **more):
    return run([simlib.SIM_BIN / "kubesim", "ctl", f"--kubeconfig={kube.kubeconfig}", *arguments], **more)


@test
def ctl_commands(folder):
    with server(folder) as kube:
        assert ctl(kube, "label", "n1", "a=b", VFIO + "-").rc == 0
        assert label_of(kube, "a") == "b" and label_of(kube, VFIO) is None
        assert ctl(kube, "annotate", "n1", "note=two words").rc == 0
        got = ctl(kube, "get", "n1").out
        assert "label a=b\n" in got and "annotation note=two words\n" in got, got
        assert ctl(kube, "get", "n1", "--json").json()["metadata"]["labels"]["a"] == "b"
        assert ctl(kube, "wait", "n1", "a=b", "absent=").rc == 0
        late = ctl(kube, "wait", "n1", "a=c", "--timeout=200ms")
        assert late.rc == 1 and "200 ms" in late.err, late.err
        bad = ctl(kube, "label", "n1", "a=b c")
        assert bad.rc == 1 and "422" in bad.err and label_of(kube, "a") == "b", bad.err
        assert ctl(kube, "label", "none", "a=b").rc == 1
        assert "gpu-operator/nvidia-kata-manager-" in ctl(kube, "pods", "n1").out
        assert ctl(kube, "fault", "status:503,n=7").out == "0\tstatus:503,n=7\n"
        assert ctl(kube, "fault", "--clear").out == ""
        assert ctl(kube, "fault", "explode").rc == 1
        assert ctl(kube, "requests").json()["count"] == 0, "ctl's requests are not counted"
        for command in (["compact"], ["bookmarks", "--count=3"], ["drop-watches"], ["gone", "http"], ["expire-token"],
                        ["rotate-token"], ["pace", "--leave=1ms"], ["stick", "vfio-manager"],
                        ["unstick", "vfio-manager"]):
            done = ctl(kube, *command)
            assert done.rc == 0, (command, done.err)


@test
def ctl_waits_for_what_is_coming(folder):
    with server(folder) as kube:
        timer = threading.Timer(0.3, kube.label, [{"a": "b"}])
        timer.start()
        done = ctl(kube, "wait", "n1", "a=b", "--timeout=30s")
        assert done.rc == 0 and 0.25 < done.seconds, done.seconds
        kube.control("POST", "outage?ms=300")
        timer = threading.Timer(0.6, kube.label, [{"a": "c"}])
        timer.start()
        assert ctl(kube, "wait", "n1", "a=c", "--timeout=30s").rc == 0, "an outage does not end a wait"


@test
def ctl_churn(folder):
    with server(folder, operator=False) as kube, closing(Client(kube)) as client:
        watch = client.watch("&resourceVersion=" + kube.node()["metadata"]["resourceVersion"])
        done = ctl(kube, "churn", "n1", "--count=100", "--rate=500")
        assert done.rc == 0 and 0.15 < done.seconds, (done.seconds, done.err)
        last = [line(watch) for _ in range(100)][-1]
        assert last["object"]["metadata"]["annotations"]["example.com/seen-by-others"] == "90"


@test
def wrong_usage(folder):
    for arguments, word in ((["--colour"], "colour"), (["--fault=explode"], "explode"), (["--history=0"], "history"),
                            (["--operator-set=x"], "operator-set"), (["--operator-stuck=x"], "operator"),
                            (["ctl"], "command"), (["ctl", "fly"], "fly"), (["ctl", "label", "n1"], "label")):
        done = run([simlib.SIM_BIN / "kubesim", *arguments], 30)
        assert done.rc == 2 and word in done.err and len(done.err.splitlines()) == 1, (arguments, done.rc, done.err)
    for arguments, word in ((["--listen=0.0.0.0:0"], "loopback"), (["--listen=x"], "not an"),
                            (["--node=Bad_Name"], "Bad_Name"), (["--label=a=b c", "--nodes=1"], "label"),
                            (["ctl", "compact", "--server=127.0.0.1:1"], "127.0.0.1:1")):
        done = run([simlib.SIM_BIN / "kubesim", *arguments], 30)
        assert done.rc == 1 and word in done.err, (arguments, done.rc, done.err)


@test
def a_command_runs_with_its_kubeconfig(folder):
    kubesim = simlib.SIM_BIN / "kubesim"
    done = run([kubesim, "--node=n1", "--label=a=b", "--", "sh", "-c", 'echo "$KUBECONFIG"; "$0" ctl get n1; exit 7',
                kubesim])
    path = done.out.splitlines()[0]
    assert done.rc == 7 and "label a=b\n" in done.out, (done.rc, done.out, done.err)
    assert not os.path.exists(os.path.dirname(path)), path
    assert run([kubesim, "--", "sh", "-c", "kill -9 $$"]).rc == 137
    assert run([kubesim, "--", "/no/such/command"]).rc == 127
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert run([kubesim, "--", "sh", "-c", "ulimit -Sn"]).out == f"{limit}\n", "kubesim's own limit got through"


@test
def a_state_folder_keeps_the_cluster(folder):
    state = folder / "state"
    kubesim = simlib.SIM_BIN / "kubesim"
    options = [f"--state={state}", "--node=n1", "--operator", "--", kubesim, "ctl"]
    assert run([kubesim, *options, "label", "n1", "a=b"]).rc == 0
    again = run([kubesim, *options, "get", "n1"])
    assert again.rc == 0 and "label a=b\n" in again.out, again.err
    pods = run([kubesim, *options, "pods"]).out.splitlines()
    assert len(pods) == 5, pods
    (state / "cluster.json").write_text("{}")
    broken = run([kubesim, *options, "pods"])
    assert broken.rc == 1 and "cluster.json" in broken.err, broken.err


@test
def kubectl_works(folder):
    kubectl = next((p for p in ("/usr/bin/kubectl", "/usr/local/bin/kubectl") if os.path.exists(p)), None)
    if not kubectl:
        raise simlib.Skip("no kubectl on this machine")
    with server(folder) as kube:
        environment = {**os.environ, "KUBECONFIG": str(kube.kubeconfig), "HOME": str(folder)}

        def k(*arguments):
            return run([kubectl, *arguments], env=environment, check=True).out
        assert "Ready" in k("get", "nodes")
        k("label", "node", "n1", "nvidia.com/cc.mode=on")
        k("annotate", "node", "n1", "a=b")
        assert k("get", "node", "n1", "-o", r"jsonpath={.metadata.labels.nvidia\.com/cc\.mode}") == "on"
        assert "nvidia-vfio-manager" in k("get", "pods", "-A")
        assert "Annotations:" in k("describe", "node", "n1")
        k("label", "node", "n1", "nvidia.com/cc.mode-")
        assert simlib.LABEL not in kube.labels()


# ---- size ---------------------------------------------------------------------------------------------------------

@test
def two_hundred_watches_and_ten_thousand_updates(folder):
    with server(folder, "--history=20000", operator=False) as kube:
        clients = [Client(kube, timeout=60) for _ in range(200)]
        watches = [c.watch("&resourceVersion=" + kube.node()["metadata"]["resourceVersion"]) for c in clients]
        seen = []

        def read(mine):
            for watch in mine:
                seen.append(sum(1 for _ in zip(range(10000), watch)))
        readers = [threading.Thread(target=read, args=([w],)) for w in watches[:4]]
        for reader in readers:
            reader.start()
        begin = time.monotonic()
        idle = [c.connection.close() for c in clients[100:]]  # half of them go away in between
        kube.control("POST", "churn?node=n1&count=10000&rate=5000")
        for reader in readers:
            reader.join(60)
        seconds = time.monotonic() - begin
        status = (f"/proc/{kube.process.pid}/status")
        rss = int(next(r for r in open(status) if r.startswith("VmHWM")).split()[1]) // 1024
        assert seen == [10000] * 4, seen
        assert len(idle) == 100 and kube.node()["metadata"]["name"] == "n1"
        for c in clients:
            c.close()
        return f"{seconds:.1f} s, at most {rss} MiB"


if __name__ == "__main__":
    simlib.main()
