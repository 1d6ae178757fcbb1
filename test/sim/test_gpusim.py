# SPDX-License-Identifier: Apache-2.0
"""gpusim itself: programs of several kinds on simulated devices, faults, rules, kill points, exit codes.

GPU_ADMIN_TOOLS names a folder with NVIDIA's gpu-admin-tools; the tests called nvidia_* run it, unmodified.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import simlib
from simlib import SIM_BIN, Skip, add, run, start, test, wait_until

GPUSIM = SIM_BIN / "gpusim"
HERE = pathlib.Path(__file__).resolve().parent
GPU = "0000:1b:00.0"
SWITCH = "0000:05:00.0"
DEV = "/sys/bus/pci/devices/"

_built = pathlib.Path(tempfile.mkdtemp(prefix="gpusim-client-"))


def build_clients():
    """The C client, dynamic and static; None where it cannot be linked."""
    clients = {}
    for name, flags in (("dynamic", []), ("static", ["-static-pie", "-fPIE"])):
        done = run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", *flags, "-o", _built / name, HERE / "gpusim_client.c"])
        clients[name] = _built / name if done.rc == 0 else None
        if done.rc != 0:
            print(f"# {name} client: {done.err.strip()[-300:]}", file=sys.stderr)
    return clients


CLIENTS = build_clients()


def client():
    if not CLIENTS["dynamic"]:
        raise Skip("no C compiler here")
    return CLIENTS["dynamic"]


def sim(*command, devices="h100", options=(), seconds=60):
    argv = [GPUSIM, "run", *([f"--devices={devices}"] if devices else []), "--reset-ms=20", "--boot-ms=20", *options]
    return run([*argv, "--", *command], seconds)


def ok(done, text=None):
    assert done.rc == 0, f"exit {done.rc}: {done.out[-300:]} {done.err[-600:]}"
    assert text is None or text in done.out, f"no '{text}' in {done.out[-300:]!r}"
    return done


def show(state):
    return run([GPUSIM, "show", f"--state={state}", "-o", "json"], check=True).json()["devices"]


def fault(state, *words):
    return run([GPUSIM, "fault", f"--state={state}", *words], check=True)


# ---- kinds of programs --------------------------------------------------------------------------------------------

def client_row(kind, words, text, quiet=True):
    def body(_):
        if not CLIENTS[kind]:
            raise Skip(f"no {kind} client")
        ok(sim(CLIENTS[kind], *words, options=["--quiet"] if quiet else ["--strict"]), text)
    return body


for _kind in CLIENTS:
    for _words, _text, _quiet in (
            (["scan"], GPU, False), (["read", "0"], "0x180000a1", False), (["cc-on"], f"{GPU} mode 1", False),
            (["insns"], "instructions alike", True), (["bulk"], "copied", True), (["maps"], "mapped", True),
            (["inherit"], "inherited 43", False), (["threads", "300"], "counted", False)):
        add(f"{_kind}_client_{_words[0]}", client_row(_kind, _words, _text, _quiet))


@test
def python_maps_registers(_):
    ok(sim(sys.executable, "-c", f"""
import mmap, os
with open('{DEV}{GPU}/config', 'r+b', buffering=0) as f:
    assert os.pread(f.fileno(), 4, 0) == bytes.fromhex('de103023')
    f.seek(4); f.write(bytes([2, 0]))                # moves on as a file does
    assert f.tell() == 6 and os.pread(f.fileno(), 2, 4) == bytes([2, 0])
with open('{DEV}{GPU}/resource0', 'r+b') as f:
    bar = memoryview(mmap.mmap(f.fileno(), 1 << 24)).cast('I')
assert bar[0] == 0x180000a1
bar[0x1400 // 4] = 5
assert bar[0x1400 // 4] == 5
print('python was here')
""", options=["--strict"]), "python was here")


GO = r"""
package main

import ("fmt"; "os"; "sync"; "syscall"; "unsafe")

func main() {
	dev := "/sys/bus/pci/devices/" + os.Args[1]
	config, err := os.OpenFile(dev+"/config", os.O_RDWR, 0)
	if err != nil { panic(err) }
	if _, err := config.WriteAt([]byte{2, 0}, 4); err != nil { panic(err) }
	f, err := os.OpenFile(dev+"/resource0", os.O_RDWR, 0)
	if err != nil { panic(err) }
	m, err := syscall.Mmap(int(f.Fd()), 0, 1<<24, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil { panic(err) }
	var wg sync.WaitGroup
	for g := 0; g < 4; g++ {
		wg.Add(1)
		go func(reg *uint32) {
			for i := 0; i < 100; i++ { *reg++ }
			wg.Done()
		}((*uint32)(unsafe.Pointer(&m[0x1400+4*g])))
	}
	wg.Wait()
	fmt.Printf("%#x %d\n", *(*uint32)(unsafe.Pointer(&m[0])), *(*uint32)(unsafe.Pointer(&m[0x140c])))
}
"""


@test
def go_maps_registers(folder):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not os.path.exists(go):
        raise Skip("no go here")
    (folder / "main.go").write_text(GO)
    env = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-p=1", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    run([go, "build", "-o", folder / "client", folder / "main.go"], 120, env, check=True)
    ok(sim(folder / "client", GPU, options=["--strict"]), "0x180000a1 100")


@test
def shells_write_attributes(_):
    done = ok(sim("sh", "-c", f"""
cd {DEV}{GPU} && cat driver_override && echo vfio-pci > driver_override && cat driver_override
echo {GPU} > /sys/bus/pci/drivers_probe && basename $(readlink driver) && cat power/runtime_status power/control
ls /dev/vfio && echo on > power/control && cat power/runtime_status
echo {GPU} > driver/unbind; test -e driver || echo no driver
echo x 2>/dev/null > made_up || echo cannot create
echo > vendor 2>/dev/null; cat vendor
printf 1 | tee reset && echo reset done
"""))
    assert done.out.split("\n")[:-1] == [
        "(null)", "vfio-pci", "vfio-pci", "suspended", "auto", "10", "vfio", "active", "no driver", "cannot create",
        "0x10de", "1reset done"], done.out


@test
def the_machine_around_is_still_there(_):
    before = pathlib.Path("/proc/self/mountinfo").read_text()
    done = ok(sim("sh", "-c", "ls /sys/devices/system/cpu/online /sys/fs /dev/null && ls /sys/class 2>&1; nproc"))
    assert "No such file" in done.out + done.err, "the host's /sys/class shows through"
    assert pathlib.Path("/proc/self/mountinfo").read_text() == before, "a mount leaked"
    assert not os.path.exists("/dev/vfio/10")


@test
def runs_without_root(folder):
    if os.geteuid() != 0:
        raise Skip("not root, so every test shows it")
    folder.chmod(0o777)
    folder.parent.chmod(0o711)
    copy = folder / "gpusim"
    shutil.copy(GPUSIM, copy)
    program = shutil.copy(client(), folder / "client")
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "run", "--devices=h100", "--strict",
            f"--state={folder}/s", "--boot-ms=20", "--", program, "cc-on"]
    done = run(argv)
    if "namespace" in done.err:
        raise Skip(f"no user namespaces: {done.err.strip()}")
    ok(done, "mode 1")


# ---- time ---------------------------------------------------------------------------------------------------------

@test
def resets_overlap(_):
    done = ok(sim(client(), "reset", devices="h100:8", options=["--reset-ms=400"]))
    assert 0.4 <= float(done.out) < 1.2, f"eight resets of 0.4 s took {done.out.strip()} s"


@test
def an_access_costs_little(_):
    done = ok(sim(client(), "cost", "3000", options=["--strict"]))
    assert float(done.out) < 2000, f"{done.out.strip()} us"
    return f"{done.out.strip()} us each"


# ---- state --------------------------------------------------------------------------------------------------------

@test
def eight_devices_switch_in_eight_processes_and_stay(folder):
    state = [f"--state={folder}/s"]
    done = ok(sim(client(), "cc-on", devices="h100:8", options=[*state, "--quiet"]))
    assert len(re.findall("mode 1", done.out)) == 8, done.out
    devices = show(folder / "s")
    assert [d["ccMode"] for d in devices] == ["on"] * 8
    assert [d["resets"] for d in devices] == [1] * 8 and not any(d["stagedUnapplied"] for d in devices)
    ok(sim(client(), "read", "0x1182cc", devices=None, options=[*state, "--quiet"]), "0x00000001")


@test
def saved_machines_are_guarded(folder):
    state = [f"--state={folder}/s"]
    ok(sim("true", options=state))
    done = sim("true", devices="b200", options=state)
    assert done.rc == 2 and "holds the devices 'h100'" in done.err, done.err
    holder = start([GPUSIM, "run", *state, "--", "sh", "-c", "echo up; sleep 20"], folder / "log")
    wait_until(lambda: "up" in simlib.tail(folder / "log"), 10, "the first run")
    done = sim("true", options=state)
    assert done.rc == 125 and "in use" in done.err, done.err
    simlib.finish(holder)
    ok(sim("true", options=state))
    text = (folder / "s" / "state").read_text()
    (folder / "s" / "state").write_text(text[:len(text) // 2])
    done = sim("true", options=state)
    assert done.rc == 2 and "saved state" in done.err, f"{done.rc}: {done.err}"


@test
def machines_begin_as_asked(folder):
    ok(sim("true", devices="h100,ls10,a100,b200", options=[f"--state={folder}/s", "--mode=ppcie", "--driver=nvidia"]))
    shown = [(d["part"], d["ccMode"], d["ppcieMode"], d["driver"]) for d in show(folder / "s")]
    assert shown == [("h100", "off", "on", "nvidia"), ("ls10", "unsupported", "on", "nvidia-nvswitch"),
                     ("a100", "unsupported", "unsupported", "nvidia"), ("b200", "off", "unsupported", "nvidia")], shown
    ok(sim("true", options=[f"--state={folder}/k", "--knob=8=1"]))
    device, = show(folder / "k")
    assert (device["ccMode"], device["ccStaged"], device["stagedUnapplied"]) == ("off", "on", True)


@test
def hosts_look_as_asked(_):
    where = {"snp": "/sys/module/kvm_amd/parameters/sev_snp", "tdx": "/sys/module/kvm_intel/parameters/tdx"}
    for tee, path in where.items():
        ok(sim("cat", path, options=[f"--host-tee={tee}"]), "Y")
    assert sim("cat", where["snp"]).rc != 0
    ok(sim("cat", "/sys/kernel/security/lockdown", options=["--lockdown=integrity"]), "[integrity]")
    done = sim(client(), "read", "0", options=["--lockdown=integrity"])
    assert done.rc == 1 and "Operation not permitted" in done.err, done.err


# ---- what the kernel says -----------------------------------------------------------------------------------------

ATTRS = [  # name, options, file, text, answer
    ("reset", [], f"{DEV}{GPU}/reset", "1", "ok"),
    ("reset with rubbish", [], f"{DEV}{GPU}/reset", "7", "EINVAL"),
    ("reset refused", ["--fault=reset-errno=EBUSY"], f"{DEV}{GPU}/reset", "1", "EBUSY"),
    ("reset unsupported", ["--fault=reset-errno=ENOTTY"], f"{DEV}{GPU}/reset", "1", "ENOTTY"),
    ("reset method", [], f"{DEV}{GPU}/reset_method", "bus", "ok bus"),
    ("reset method unknown", [], f"{DEV}{GPU}/reset_method", "hammer", "EINVAL"),
    ("override", [], f"{DEV}{GPU}/driver_override", "vfio-pci\n", "ok vfio-pci"),
    ("bind without a match", [], "/sys/bus/pci/drivers/vfio-pci/bind", GPU, "ENODEV"),
    ("bind by new id", [], "/sys/bus/pci/drivers/vfio-pci/new_id", "10de 2330", "ok"),
    ("bind what is bound", ["--driver=vfio-pci"], "/sys/bus/pci/drivers/vfio-pci/bind", GPU, "EBUSY"),
    ("unbind", ["--driver=vfio-pci"], "/sys/bus/pci/drivers/vfio-pci/unbind", GPU, "ok"),
    ("unbind what is not bound", [], "/sys/bus/pci/drivers/vfio-pci/unbind", GPU, "ENODEV"),
    ("unbind nobody", ["--driver=vfio-pci"], "/sys/bus/pci/drivers/vfio-pci/unbind", "0000:ff:00.0", "ENODEV"),
    ("probe nobody", [], "/sys/bus/pci/drivers_probe", "0000:ff:00.0", "ENODEV"),
    ("power rubbish", [], f"{DEV}{GPU}/power/control", "maybe", "EINVAL"),
    ("power auto", [], f"{DEV}{GPU}/power/control", "auto", "ok auto"),
    ("a gone device", ["--fault=gone"], f"{DEV}{GPU}/reset", "1", "open ENOENT"),
    ("a removed device", [], f"{DEV}{GPU}/remove", "1", "ok"),
    ("rescan", [], "/sys/bus/pci/rescan", "1", "ok"),
]
for _name, _options, _file, _text, _answer in ATTRS:
    add(f"attribute_{_name.replace(' ', '_')}", lambda _, o=_options, f=_file, t=_text, a=_answer: ok(
        sim(client(), "attr", f, t, options=o), a) and None)


@test
def removed_devices_come_back(_):
    ok(sim("sh", "-c", f"""
echo 1 > {DEV}{GPU}/remove && test ! -e {DEV}{GPU} && test ! -e /sys/devices/pci0000:1b/{GPU} &&
echo 1 > /sys/bus/pci/rescan && cat {DEV}{GPU}/device && {client()} read 0"""), "0x2330\n0x180000a1")


# ---- rules --------------------------------------------------------------------------------------------------------

def violates(text, *command, options=(), devices="h100"):
    def body(_):
        done = sim(*(word for c in command for word in (c() if callable(c) else [c])), devices=devices, options=["--strict", *options])
        assert done.rc == 96, f"exit {done.rc}: {done.err[-400:]}"
        assert text in done.err, done.err[-400:]
    return body


PEEK = """
import mmap, sys
with open('/sys/bus/pci/devices/0000:1b:00.0/resource0', 'r+b') as f:
    bar = memoryview(mmap.mmap(f.fileno(), 1 << 24))
%s
"""
ON = "open('/sys/bus/pci/devices/0000:1b:00.0/config', 'r+b', 0).seek(4);" \
     "import os; os.pwrite(os.open('/sys/bus/pci/devices/0000:1b:00.0/config', os.O_RDWR), bytes([2, 0]), 4)\n"


def peek(code):
    return [sys.executable, "-c", PEEK % code]


for _name, _text, _code, _options in (
        ("narrow", "BAR0 read of 1 bytes", ON + "bar[0]", []),
        ("wide", "BAR0 read of 8 bytes", ON + "bar.cast('Q')[0]", []),
        ("memory_off", "memory decoding off", "bar.cast('I')[0]", []),
        ("asleep", "in D3", ON + "bar.cast('I')[0]", ["--driver=vfio-pci"]),
        ("driver", "driver nvidia owns the device", ON + "bar.cast('I')[0]", ["--driver=nvidia"]),
        ("held", "somebody has the device open", ON + "bar.cast('I')[0]", ["--driver=vfio-pci", "--fault=held"]),
        ("head_first", "head written before the tail", ON + "b = bar.cast('I'); b[0x8f2c10 // 4] = 0x800", []),
        ("pending", "while its command queue is not empty", ON + "b = bar.cast('I'); b[0x8f2c14 // 4] = 0x808;"
         "b[0x8f2ad0 // 4] = 0x03000800; b[0x8f2ad4 // 4] = 1", []),
        ("unknown", "no register is known", ON + "bar.cast('I')[0x4000 // 4] = 1", []),
        ("before_priv_ring", "before the priv ring", ON + "bar.cast('I')[0x1182cc // 4]", []),
        ("misaligned", "BAR0 read of 4 bytes at 0x2", ON + "bar[2:6].cast('I')[0]", [])):
    add(f"violation_{_name}", violates(_text, *peek(_code), options=_options))
add("violation_bulk", violates("a vector instruction", lambda: [client(), "bulk"]))
add("violation_fabric", violates("only a part of the NVLink fabric", lambda: [client(), "cc-on-first"], devices="h100:2"))


@test
def a_correct_client_breaks_no_rule(_):
    ok(sim(client(), "cc-on", options=["--strict", "--driver=none"]))


@test
def traces_have_names(folder):
    trace = folder / "trace"
    ok(sim(client(), "cc-on", options=[f"--trace={trace}"]))
    text = trace.read_text()
    for wanted in (r"cfg-W 0x004 0x0002", r"R 0x1182cc 0x00000001 CC_MODE", r"W 0x8f2c10 0x00000800 FSP_CMD_HEAD",
                   r"firmware knob 8 CCM := 1: status 0x0", r"reset begins"):
        assert re.search(rf"{GPU} {wanted}", text), f"no {wanted}\n{text[-500:]}"


# ---- faults -------------------------------------------------------------------------------------------------------

@test
def faults_change_while_a_program_runs(folder):
    state = folder / "s"
    process = start([GPUSIM, "run", "--devices=h100", f"--state={state}", "--", sys.executable, "-uc", PEEK % (
        ON + "import time\nbar = bar.cast('I')\nlast = None\nwhile True:\n  now = hex(bar[0])\n"
        "  if now != last: print(now)\n  last = now\n  time.sleep(0.002)")], folder / "log")
    log = folder / "log"
    try:
        wait_until(lambda: log.exists() and log.read_text().split() == ["0x180000a1"], 10, "the first read")
        fault(state, "add", "all-ones")
        wait_until(lambda: log.read_text().split()[-1] == "0xffffffff", 5, "all ones")
        fault(state, "clear", "all-ones")
        wait_until(lambda: log.read_text().split()[-1] == "0x180000a1", 5, "the register again")
        fault(state, "add", "badf,count=3")
        wait_until(lambda: "0xbadf1100" in log.read_text(), 5, "a bad read")
        wait_until(lambda: log.read_text().split()[-1] == "0x180000a1", 5, "the end of the count")
        assert "count=0" in fault(state, "list").out
        done = run([GPUSIM, "fault", f"--state={state}", "add", "warp-core-breach"])
        assert done.rc == 2 and "no fault is called" in done.err
    finally:
        simlib.finish(process)


@test
def a_held_device_is_found_and_its_unbind_waits(folder):
    state = folder / "s"
    log = folder / "log"
    process = start([GPUSIM, "run", "--devices=h100", f"--state={state}", "--driver=vfio-pci", "--fault=held", "--",
                     "sh", "-c", "find -L /proc/[0-9]*/fd -maxdepth 1 -samefile /dev/vfio/10 2>/dev/null | grep -q /proc && echo seen; "
                     f"echo {GPU} > /sys/bus/pci/drivers/vfio-pci/unbind; echo unbound"], log)
    try:
        wait_until(lambda: log.exists() and "seen" in log.read_text(), 10, "the holder to be seen")
        time.sleep(0.3)
        assert "unbound" not in log.read_text(), "unbind did not wait"
        fault(state, "clear")
        wait_until(lambda: "unbound" in log.read_text(), 5, "unbind to go on")
        assert process.wait(5) == 0
        assert show(state)[0]["driver"] is None
    finally:
        simlib.finish(process)


@test
def a_writer_that_waits_can_be_killed(folder):
    begin = time.monotonic()
    done = sim("sh", "-c", f"(echo {GPU} > /sys/bus/pci/drivers/vfio-pci/unbind) & sleep 0.2; kill -9 $!; wait $!; echo $?",
               options=["--driver=vfio-pci", "--fault=held", f"--state={folder}/s"])
    ok(done, "137")
    assert time.monotonic() - begin < 10 and show(folder / "s")[0]["driver"] == "vfio-pci"


@test
def slow_resets_hold_only_their_caller(_):
    done = ok(sim("sh", "-c", f"(echo 1 > {DEV}{GPU}/reset; echo reset) & sleep 0.1; cat {DEV}{GPU}/vendor; wait",
                  options=["--fault=reset-slow=600"]))
    assert done.out.split() == ["0x10de", "reset"] and done.seconds > 0.6, done.out


@test
def two_resets_of_one_device_take_turns(folder):
    done = ok(sim("sh", "-c", f"for i in 1 2; do (echo 1 > {DEV}{GPU}/reset || echo failed) & done; wait",
                  options=["--reset-ms=300", f"--state={folder}/s"]))
    assert done.out == "" and done.seconds > 0.6 and show(folder / "s")[0]["resets"] == 2, (done.out, done.seconds)


@test
def gone_devices_come_back(folder):
    state = folder / "s"
    ok(sim("ls", DEV, devices="h100,ls10", options=[f"--state={state}", f"--fault=gone,dev={GPU}"]), SWITCH)
    done = ok(sim("ls", DEV, devices=None, options=[f"--state={state}"]))
    assert GPU not in done.out, done.out
    fault(state, "clear", "gone")
    ok(sim("ls", DEV, devices=None, options=[f"--state={state}"]), GPU)


# ---- kill points --------------------------------------------------------------------------------------------------

@test
def points_are_counted(folder):
    done = ok(sim(client(), "points", folder / "f", options=["--count-points"]))
    counts = json.loads(done.err.splitlines()[-1])
    assert counts == {"points": 7, "reg": 1, "sysfs": 1, "file": 4, "send": 0, "log": 1}, counts
    done = ok(sim(client(), "points", folder / "f", options=["--count-points", "--kill-kind=reg,sysfs"]))
    assert json.loads(done.err.splitlines()[-1])["points"] == 2
    with open(folder / "out", "wb") as out:  # results in a file are not state
        done = subprocess.run([GPUSIM, "run", "--devices=h100", "--count-points", "--", "echo", "x"], stdout=out,
                              stderr=subprocess.PIPE, text=True)
    assert json.loads(done.stderr.splitlines()[-1])["points"] == 0, done.stderr
    done = ok(sim(sys.executable, "-c", "import socket; a, b = socket.socketpair(); a.send(b'x'); a.sendmsg([b'y'])",
                  options=["--count-points", "--kill-kind=send"]))
    assert json.loads(done.err.splitlines()[-1])["send"] == 2


@test
def the_command_dies_at_each_point_before_or_after_it(folder):
    file, temp = folder / "f", folder / "f.tmp"
    # order: sysfs (MEMORY on), reg, file write, fsync, rename, unlink, log
    after_effect = [
        lambda s: s["memory"], lambda s: s["reg"], lambda s: s["temp"] == "state\n", lambda s: s["temp"] == "state\n",
        lambda s: s["file"] == "state\n", lambda s: s["file"] is None, lambda s: "phase done" in s["err"]]
    for at in range(1, 8):
        for when in ("before", "after"):
            for path in (file, temp):
                path.unlink(missing_ok=True)
            state = folder / f"s{at}{when}"
            done = sim(client(), "points", file, options=[f"--state={state}", f"--kill-at={at}", f"--kill-when={when}"])
            assert done.rc == 137, f"{at} {when}: exit {done.rc} {done.err}"
            assert "done\n" not in done.out
            text = (state / "state").read_text()
            seen = {"memory": "\ncfg de 10 30 23 2 0 " in text, "reg": "\nscratch 7" in text, "err": done.err,
                    "temp": temp.read_text() if temp.exists() else None,
                    "file": file.read_text() if file.exists() else None}
            happened = after_effect[at - 1](seen)
            expected = when == "after" or at in (4, 6) and False
            if at == 4:  # fsync changes nothing that can be seen
                continue
            if at == 6 and when == "before":
                assert seen["file"] == "state\n", seen
                continue
            assert bool(happened) == expected, f"point {at}, {when}: {seen}"


@test
def nothing_is_left_behind(folder):
    mark = f"31.{os.getpid()}"
    done = sim("sh", "-c", f"sleep {mark} & sleep {mark} & (setsid sleep {mark} &) ; echo x > {folder}/f; wait",
               options=["--kill-at=1", "--kill-kind=file"])
    assert done.rc == 137, f"exit {done.rc}: {done.err}"
    ok(sim("sh", "-c", f"(setsid sleep {mark} &) ; exit 0"))
    left = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, text=True).stdout
    assert not left, f"left: {left}"


# ---- exit codes, signals ------------------------------------------------------------------------------------------

for _name, _argv, _rc, _text in (
        ("success", ["--devices=h100", "--", "true"], 0, ""),
        ("failure", ["--devices=h100", "--", "sh", "-c", "exit 7"], 7, ""),
        ("signal", ["--devices=h100", "--", "sh", "-c", "kill -TERM $$"], 143, ""),
        ("segv", ["--devices=h100", "--", "sh", "-c", "kill -SEGV $$"], 139, ""),
        ("not found", ["--devices=h100", "--", "/no/such/program"], 127, "No such file"),
        ("not executable", ["--devices=h100", "--", "/etc/passwd"], 126, "Permission denied"),
        ("no command", ["--devices=h100"], 2, "no command"),
        ("no devices", ["--", "true"], 2, "--devices"),
        ("unknown part", ["--devices=voodoo2", "--", "true"], 2, "voodoo2"),
        ("unknown option", ["--device=h100", "--", "true"], 2, "--device"),
        ("unknown fault", ["--devices=h100", "--fault=gremlins", "--", "true"], 2, "gremlins"),
        ("unknown kind", ["--devices=h100", "--kill-kind=cat", "--", "true"], 2, "cat"),
        ("help", ["--help"], 0, ""),
        ("no devices at all", ["--devices=none", "--", "ls", "/sys/bus/pci/devices"], 0, "")):
    add(f"exit_{_name.replace(' ', '_')}", lambda _, a=_argv, r=_rc, t=_text: exits(a, r, t))


def exits(argv, rc, text):
    done = run([GPUSIM, "run", *argv])
    assert done.rc == rc and text in done.err, f"exit {done.rc}, not {rc}: {done.err}"


@test
def signals_pass_through(folder):
    for signo, rc in ((signal.SIGUSR1, 10), (signal.SIGTERM, 15)):
        log = folder / f"log{signo}"
        process = start([GPUSIM, "run", "--devices=h100", "--", client(), "wait"], log)
        wait_until(lambda: log.exists() and "waiting" in log.read_text(), 10, "the client")
        assert simlib.finish(process, how=signo) == rc


@test
def stopped_programs_go_on(_):
    ok(sim("sh", "-c", "sleep 0.3 & kill -STOP $!; kill -CONT $!; wait $! && echo went on"), "went on")


# ---- NVIDIA's tool ------------------------------------------------------------------------------------------------

def nvidia(devices, *words, state=None, trace=None, options=()):
    folder = os.environ.get("GPU_ADMIN_TOOLS")
    if not folder:
        raise Skip("GPU_ADMIN_TOOLS is not set")
    extra = [f"--state={state}"] if state else []
    extra += [f"--trace={trace}"] if trace else []
    done = sim(sys.executable, "-B", pathlib.Path(folder) / "nvidia_gpu_tools.py", *words, devices=devices,
               options=["--quiet", *extra, *options])
    return done


def said(done, pattern):
    assert re.search(pattern, done.out + done.err), f"no {pattern!r}: {done.out[-600:]} {done.err[-600:]}"


NVIDIA_CC = [("h100", "hopper"), ("b200", "blackwell"), ("gb102", "gb102"), ("gb20x", "gb20x"), ("h100-noppcie", "no_ppcie")]
for _part, _name in NVIDIA_CC:
    def _cc(folder, part=_part):
        state = folder / "s"
        for mode in ("on", "devtools", "off", "devtools", "on", "off"):
            # the tool reads registers before it waits for the BAR firewall; they must not change meanwhile
            slow = ["--boot-ms=800"] if part.startswith(("b", "gb")) else []
            done = nvidia(part, "--devices", "gpus", f"--set-cc-mode={mode}", "--reset-after-cc-mode-switch",
                          state=state, options=slow)
            assert done.rc == 0, done.out[-600:] + done.err[-600:]
            device, = show(state)
            assert (device["ccMode"], device["stagedUnapplied"]) == (mode, False), device
            done = nvidia(part, "--devices", "gpus", "--query-cc-mode", state=state)
            said(done, f"CC mode is {mode}")
    add(f"nvidia_switches_cc_{_name}", _cc)


@test
def nvidia_switches_ppcie(folder):
    state = folder / "s"
    for mode in ("on", "off"):
        done = nvidia("h100:2,ls10:2", "--devices", "gpus,nvswitches", f"--set-ppcie-mode={mode}",
                      "--reset-after-ppcie-mode-switch", state=state)
        assert done.rc == 0, done.out[-600:] + done.err[-600:]
        assert [d["ppcieMode"] for d in show(state)] == [mode] * 4
        done = nvidia("h100:2,ls10:2", "--devices", "gpus,nvswitches", "--query-ppcie-mode", state=state)
        assert len(re.findall(f"PPCIe mode is {mode}", done.out + done.err)) == 4, done.err[-900:]


@test
def nvidia_meets_faults(folder):
    done = nvidia("h100-noppcie", "--devices", "gpus", "--set-ppcie-mode=on")
    assert done.rc == 1, done.out
    done = nvidia("h100", "--devices", "gpus", "--set-cc-mode=on", options=["--fault=rpc-error=0x77,knob=8"])
    assert done.rc == 1 and "0x77" in done.out + done.err, done.err[-900:]
    done = nvidia("h100", "--devices", "gpus", "--set-cc-mode=on", "--reset-after-cc-mode-switch",
                  options=["--fault=mode-sticks"])
    assert done.rc == 1 and "off" in done.err + done.out
    done = nvidia("b200", "--devices", "gpus", "--query-cc-mode", options=["--fault=all-ones"])
    assert done.rc == 1
    done = nvidia("lr10", "--devices", "nvswitches", "--query-ppcie-mode")
    assert done.rc == 1


# The access sequences of the register specification's worked example.
SET_CC_ON = [45, 2, 4, 34, 45, 10, (10, 2), 8, (8, 1), 6]


@test
def nvidia_accesses_as_recorded(folder):
    trace = folder / "trace"
    nvidia("h100", "--devices", "gpus", "--set-cc-mode=on", "--reset-after-cc-mode-switch", trace=trace)
    text = trace.read_text()
    rpcs = [(int(k), int(v)) if op == ":=" else int(k)
            for k, op, v in re.findall(r"firmware knob (\d+) \S* ?(is|:=) (\d+)", text)]
    assert rpcs == SET_CC_ON, rpcs
    frame = re.findall(r"(?<= )([RW] 0x8f2\w{3}) (0x\w{8})", text)
    first = frame.index(("W 0x8f2ad0", "0x03000800"))
    assert frame[first:first + 4] == [("W 0x8f2ad0", "0x03000800"), ("W 0x8f2ad4", "0xc0000000"),
                                      ("W 0x8f2ad4", "0x1310de7e"), ("W 0x8f2ad4", "0x002d020c")], frame[first:first + 5]
    answer = [v for r, v in frame if r == "R 0x8f2ad4"][:6]
    assert answer == ["0xc0000000", "0x1510de7e", "0x00000000", "0x00000013", "0x00000000", "0x5a5a0000"], answer
    marks = re.findall(r"([RW]) 0x(001458|091288) 0x0000000(\d)", text.split("reset begins")[1])
    assert marks[:2] == [("R", "001458", "0"), ("R", "091288", "1")], marks
    assert text.rstrip().split("\n")[-1].endswith("CC_MODE")


if __name__ == "__main__":
    try:
        simlib.main()
    finally:
        shutil.rmtree(_built, ignore_errors=True)
