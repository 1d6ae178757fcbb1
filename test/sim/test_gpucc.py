#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gpucc mode query, set and settings on simulated devices: tables, JSON, refusals, faults, kills, broken sysfs trees.

Every run is --strict: one access that no client may make fails the test.
"""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import time

import simlib
from simlib import BIN, MODES, SIM_BIN, run, test, wait_until

GPU1, GPU2, SWITCH1 = "0000:1b:00.0", "0000:43:00.0", "0000:05:00.0"
FIELDS = ["bdf", "kind", "vendorId", "deviceId", "chip", "name", "driver", "ccMode", "ppcieMode", "healthy", "error"]
STRICT_EXIT, SIM_EXIT = 96, 125


class Machine:
    """A simulated machine that lives on between runs."""

    def __init__(self, folder, devices, *options, driver="vfio-pci", boot_ms=20, reset_ms=10):
        self.dir, self.devices = folder, devices
        self.sim, self.state = folder / "sim", folder / "state"
        self.options = [f"--boot-ms={boot_ms}", f"--reset-ms={reset_ms}", f"--driver={driver}", *options]

    def argv(self, *arguments, sim=()):
        return [SIM_BIN / "gpusim", "run", f"--devices={self.devices}", f"--state={self.sim}", "--strict",
                *self.options, *sim, "--", BIN / "gpucc", *arguments, f"--state-dir={self.state}"]

    def gpucc(self, *arguments, sim=(), rc=0, seconds=60):
        done = run(self.argv(*arguments, sim=sim), seconds)
        if done.rc != rc:
            raise AssertionError(f"gpucc {' '.join(arguments)}: exit {done.rc}, not {rc}\n{done.out}{done.err}")
        return done

    def query(self, rc=0):
        return self.gpucc("mode", "query", "-o", "json", rc=rc).json()["devices"]

    def truth(self):
        return run([SIM_BIN / "gpusim", "show", f"--state={self.sim}", "-o", "json"], check=True).json()["devices"]

    def wrong(self, mode, driver="vfio-pci"):
        """Complaints about devices that are not in the mode, not handed back, or have something staged."""
        wrong = []
        for d in self.truth():
            want = simlib.wanted_pair(d, mode)
            if (d["ccMode"], d["ppcieMode"]) != want:
                wrong.append(f"{d['bdf']} is {(d['ccMode'], d['ppcieMode'])}, not {want}")
            if d["stagedUnapplied"]:
                wrong.append(f"{d['bdf']} has something staged and unapplied")
            if d["driver"] not in (driver, None):
                wrong.append(f"{d['bdf']} is bound to {d['driver']}, not {driver}")
            if driver and d["driver"] is None:
                wrong.append(f"{d['bdf']} was not handed back")
        return wrong

    def check(self, mode, driver="vfio-pci"):
        wrong = self.wrong(mode, driver)
        if wrong:
            raise AssertionError(f"mode {mode}: " + "; ".join(wrong))


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def gpucc(*arguments, env=None):
    """Without a simulator: for what is said before any device is looked for."""
    return run([BIN / "gpucc", *arguments], env=env)


# ---- query --------------------------------------------------------------------------------------------------------

@test
def query_table(folder):
    m = Machine(folder, "h100:1,ls10:1,b200:1,a100:1,nic:1", driver="none")
    text = m.gpucc("mode", "query").out
    expect(text.splitlines() == [
        "DEVICE        KIND      CHIP   NAME  ID         DRIVER  CC           PPCIE        STATUS",
        "0000:05:00.0  nvswitch  ls10   LS10  10de:22a3  -       unsupported  off          ok",
        "0000:1b:00.0  gpu       gh100  H100  10de:2330  -       off          off          ok",
        "0000:43:00.0  gpu       gb100  B200  10de:2901  -       off          unsupported  ok",
        "0000:52:00.0  gpu       -      -     10de:20b2  -       unsupported  unsupported  ok",
    ], text)


@test
def query_json_is_as_the_contract_says(folder):
    m = Machine(folder, "h100:1,ls10:1,gb20x:1,a100:1,lr10:1,nvbridge:1,nvaudio:1", "--mode=on")
    devices = m.query()
    for d in devices:
        expect(list(d) == FIELDS, list(d))
        expect(d["error"] is None and d["healthy"] is True, d)
        expect(d["driver"] == "vfio-pci", d)
    pairs = {(d["kind"], d["chip"]): (d["ccMode"], d["ppcieMode"]) for d in devices}
    expect(pairs == {
        ("nvswitch", "ls10"): ("unsupported", "off"), ("nvswitch", "lr10"): ("unsupported", "unsupported"),
        ("gpu", "gh100"): ("on", "off"), ("gpu", "gb202"): ("on", "unsupported"),
        ("gpu", None): ("unsupported", "unsupported"),
    }, pairs)


@test
def query_tells_every_mode(folder):
    for mode in MODES:
        m = Machine(folder / mode, "h100:1,ls10:1", f"--mode={mode}")
        pairs = [(d["ccMode"], d["ppcieMode"]) for d in m.query()]
        switch = ("unsupported", "on" if mode == "ppcie" else "off")
        gpu = ("off", "on") if mode == "ppcie" else (mode, "off")
        expect(pairs == [switch, gpu], (mode, pairs))


@test
def query_of_one_device(folder):
    m = Machine(folder, "h100:4,ls10:2")
    devices = m.gpucc("mode", "query", "--device", GPU2, "--device=05:00.0", "-o", "json").json()["devices"]
    expect([d["bdf"] for d in devices] == [SWITCH1, GPU2], devices)
    done = m.gpucc("mode", "query", "--device", "0000:ff:00.0", rc=1)
    expect("0000:ff:00.0 is no NVIDIA GPU or NVSwitch" in done.err, done.err)


@test
def query_leaves_no_trace(folder):
    m = Machine(folder, "h100:1,b200:1", "--d3")
    before = [(d["powerControl"], d["resets"], d["knobs"]) for d in (m.query() and m.truth())]
    m.query()
    expect([(d["powerControl"], d["resets"], d["knobs"]) for d in m.truth()] == before, "power, resets or knobs changed")
    expect({d["powerControl"] for d in m.truth()} == {"auto"}, m.truth())


@test
def no_device_at_all(folder):
    m = Machine(folder, "nic:1")
    expect(m.gpucc("mode", "query").out == "no NVIDIA GPU or NVSwitch found\n", "query")
    expect(m.query() == [], "json")
    m.gpucc("mode", "settings")
    m.gpucc("mode", "set", "off")
    for mode in ("on", "devtools", "ppcie"):
        expect("no NVIDIA GPU" in m.gpucc("mode", "set", mode, rc=1).err, mode)


@test
def device_in_use_is_not_touched(folder):
    m = Machine(folder, "h100:2", "--mode=on")
    m.query()  # records the modes
    run([SIM_BIN / "gpusim", "fault", f"--state={m.sim}", "add", f"held,dev={GPU1}"], check=True)
    devices = m.query(rc=1)
    expect(devices[0]["ccMode"] == "on" and devices[0]["healthy"] is None, devices[0])
    expect(re.search(r"in use: process \d+ \(gpusim-holder\) has /dev/vfio/\d+ open", devices[0]["error"]), devices[0])
    expect(devices[1]["error"] is None and devices[1]["ccMode"] == "on", devices[1])
    done = m.gpucc("mode", "set", "off", rc=1)
    expect("refused, nothing was changed" in done.err and GPU1 in done.err, done.err)
    expect([d["resets"] for d in m.truth()] == [0, 0], "something was reset")
    run([SIM_BIN / "gpusim", "fault", f"--state={m.sim}", "clear"], check=True)
    m.gpucc("mode", "set", "off")
    m.check("off")


@test
def device_of_the_nvidia_driver_is_not_touched(folder):
    m = Machine(folder, "h100:1", driver="nvidia")
    device = m.query(rc=1)[0]
    expect(device["ccMode"] == "unknown" and device["error"].endswith("in use: bound to driver nvidia"), device)
    expect("bound to driver nvidia" in m.gpucc("mode", "set", "on", rc=1).err, "set")
    m.check("off", driver="nvidia")


@test
def lockdown_forbids_registers(folder):
    for mode in ("integrity", "confidentiality"):
        m = Machine(folder / mode, "h100:1", f"--lockdown={mode}")
        for command in (("query",), ("set", "on"), ("settings",)):
            done = m.gpucc("mode", *command, rc=1)
            expect("lockdown" in done.err and mode in done.err, done.err)


@test
def settings_by_name(folder):
    m = Machine(folder, "h100-noppcie:1", "--mode=on")
    text = m.gpucc("mode", "settings").out
    expect(re.search(r"^   8  CCM +1 +confidential computing$", text, re.M), text)
    expect(re.search(r"^  45  PPCIE +invalid +Protected PCIe$", text, re.M), text)
    device = m.gpucc("mode", "settings", "-o", "json").json()["devices"][0]
    values = {s["name"]: s["value"] for s in device["settings"]}
    expect(len(device["settings"]) == 47 and values["CCM"] == 1 and values["BAR0_DECOUPLER"] == 2, values)
    expect(values["PPCIE"] is None and values["KNOB_2"] == 0, values)


@test
def debug_names_the_registers(folder):
    m = Machine(folder, "h100:1")
    log = m.gpucc("mode", "query", "--log-level=debug").err
    for line in (r"read  0x000000 PMC_BOOT_0 = 0x180000a1", r"read  0x1182cc MODE = 0x00000000"):
        expect(line in log, log)


# ---- set ----------------------------------------------------------------------------------------------------------

def transitions(devices, modes, folder):
    m = Machine(folder, devices)
    for start in modes:
        for to in modes:
            m.gpucc("mode", "set", start)
            m.gpucc("mode", "set", to)
            m.check(to)
    return f"{len(modes) ** 2} transitions"


for _devices, _modes in (("h100:1", MODES), ("h100:2,ls10:2", MODES), ("b200:2", MODES[:3]), ("gb20x:1", MODES[:3])):
    simlib.add(f"every mode from every mode, {_devices}",
               lambda folder, devices=_devices, modes=_modes: transitions(devices, modes, folder))


@test
def eight_gpus_and_four_switches(folder):
    m = Machine(folder, "h100:8,ls10:4")
    for mode in ("ppcie", "on", "ppcie", "off"):
        m.gpucc("mode", "set", mode)
        m.check(mode)
    resets = [d["resets"] for d in m.truth()]
    m.gpucc("mode", "set", "off")
    expect([d["resets"] for d in m.truth()] == resets, "a device that was right already was reset")


@test
def set_prints_each_device(folder):
    m = Machine(folder, "h100:2")
    done = m.gpucc("mode", "set", "on", "-o", "json")
    answer = done.json()
    expect(answer["wanted"] == "on" and answer["reset"] is True and answer["dryRun"] is False, answer)
    expect([(d["bdf"], d["ccMode"], d["action"]) for d in answer["devices"]]
           == [(GPU1, "on", "switch"), (GPU2, "on", "switch")], answer)
    for word in ("step=unbind", "step=stage", "step=reset", "step=bind", f"reset bdf={GPU1}", f"reset bdf={GPU2}"):
        expect(word in done.err, done.err)
    expect(m.gpucc("mode", "set", "on").out.splitlines()[1].split()[5:] == ["none", "ok"], "nothing to do")


@test
def no_reset_stages(folder):
    m = Machine(folder, "h100:1,ls10:1")
    m.gpucc("mode", "set", "ppcie", "--no-reset")
    truth = m.truth()
    expect([(d["ppcieMode"], d["ppcieStaged"], d["resets"]) for d in truth] == [("off", "on", 0)] * 2, truth)
    m.gpucc("mode", "set", "off", "--no-reset")
    m.check("off")
    expect([d["resets"] for d in m.truth()] == [0, 0], "reset")
    m.gpucc("mode", "set", "ppcie", "--no-reset")
    m.gpucc("mode", "set", "off")  # in force already: takes back what was staged, resets nothing
    m.check("off")
    expect([d["resets"] for d in m.truth()] == [0, 0], "reset")


@test
def dry_run_changes_nothing(folder):
    m = Machine(folder, "h100:2,ls10:1")
    done = m.gpucc("mode", "set", "ppcie", "--dry-run", "-o", "json").json()
    expect(done["dryRun"] and {d["action"] for d in done["devices"]} == {"switch"}, done)
    m.check("off")
    expect({d["resets"] for d in m.truth()} == {0}, "reset")
    expect("WOULD" in m.gpucc("mode", "set", "on", "--dry-run").out, "text")


@test
def what_a_device_cannot_do_is_refused(folder):
    for devices, mode, why in (
            ("b200:2", "ppcie", "B200 has no ppcie mode"),
            ("h100:1,a100:1", "on", "(device id 20b2) has no confidential computing"),
            ("h100:1,lr10:1", "ppcie", "LR10 has no ppcie mode"),
            ("h100:1,h100-noppcie:1", "ppcie", "firmware without PPCIe, an update is needed"),
            ("gb20x-nocc:1", "on", "firmware without confidential computing"),
            ("a100:1", "devtools", "has no confidential computing")):
        m = Machine(folder / devices.replace(":", "-"), devices)
        done = m.gpucc("mode", "set", mode, rc=1)
        expect("refused, nothing was changed" in done.err and why in done.err, done.err)
        m.check("off")
        expect(all(d["resets"] == 0 for d in m.truth()), f"{devices}: reset")
        m.gpucc("mode", "set", "off")


@test
def a_part_of_the_fabric_is_refused(folder):
    m = Machine(folder, "h100:2,ls10:1")
    why = "leave --device out"
    expect(why in m.gpucc("mode", "set", "ppcie", f"--device={GPU1}", rc=1).err, "to ppcie")
    m.gpucc("mode", "set", "ppcie")
    for mode in ("off", "on"):
        expect(why in m.gpucc("mode", "set", mode, f"--device={GPU1}", rc=1).err, mode)
    m.check("ppcie")
    m.gpucc("mode", "set", "ppcie", f"--device={GPU1}")  # nothing to do
    cards = Machine(folder / "cards", "h100-pcie:2")
    cards.gpucc("mode", "set", "on", f"--device={GPU2}")  # each card is its own
    expect([d["ccMode"] for d in cards.query()] == ["off", "on"], cards.query())


@test
def a_device_the_user_knows_better(folder):
    m = Machine(folder, "a100:1")
    env = {**os.environ, "CC_CAPABLE_DEVICE_IDS": "0x20b2"}
    done = run(m.argv("mode", "set", "on"), env=env)
    expect(done.rc == 1 and "PMC_BOOT_0 reads 0x170000a1" in done.err, done.err)


# ---- faults -------------------------------------------------------------------------------------------------------

FAULTS = {  # fault: what the error says; None: too late to be refused, nothing certain about knobs
    "rpc-error=0x77,knob=8": "FSP error 0x77",
    "no-answer,knob=8": "FSP gave no answer in 5 s",
    "stuck-queue,knob=8": "FSP",
    "short-answer,knob=8": "FSP answer of 4 dwords",
    "long-answer,knob=8": "dwords of payload",
    "wrong-answer=type,knob=8": "FSP answer has type",
    "inband-denied": "FSP error 0x1e4",
    "boot-never,from=reset": "boot not complete after 5 s",
    "mode-sticks": "the mode did not change: (CC off, PPCIe off) is in force, (CC on, PPCIe off) is wanted",
    "all-ones,from=reset": "device lost",
    "badf,from=reset": "0xbadf1100",
    "sec-fault,from=reset": "security fault",
    "recovery,from=reset": "in recovery mode",
    "reset-errno=EBUSY": "somebody else holds the device's lock",
    "reset-errno=ENOTTY": "no reset method that works",
    "reset-errno=EIO": "did not come back",
    "gone,from=reset": GPU2,
    "all-ones": "device lost",
    "recovery": "in recovery mode",
}


def fault(folder, spec, says):
    m = Machine(folder, "h100:2")
    m.query()
    run([SIM_BIN / "gpusim", "fault", f"--state={m.sim}", "add", f"{spec},dev={GPU2}"], check=True)
    done = m.gpucc("mode", "set", "on", rc=1, seconds=120)
    expect(any(says in line and GPU2 in line for line in done.err.splitlines() if "ERROR" in line), done.err)
    run([SIM_BIN / "gpusim", "fault", f"--state={m.sim}", "clear"], check=True)
    if "reset" in spec or spec == "mode-sticks":  # the other one was reset too: it is in the mode, and says so
        expect("DONE" in done.out and re.search(rf"{GPU1}.*\bon\b.*ok$", done.out, re.M), done.out)
    else:
        m.check("off")  # nothing was reset: what was staged was taken back
    if not spec.startswith("gone"):
        m.gpucc("mode", "set", "on")
        m.check("on")


for _spec, _says in FAULTS.items():
    simlib.add(f"fault {_spec}", lambda folder, spec=_spec, says=_says: fault(folder, spec, says))


@test
def query_names_what_is_broken(folder):
    for spec, says in (("all-ones", "device lost"), ("badf", "0xbadf1100"), ("sec-fault", "fault code"),
                       ("recovery", "in recovery mode"), ("boot-never", None)):
        m = Machine(folder / spec, "h100:2", f"--fault={spec},dev={GPU1}")
        if says is None:  # never in force before a first reset
            continue
        broken, fine = m.query(rc=1)
        expect(says in broken["error"] and broken["healthy"] is False and broken["ccMode"] == "unknown", broken)
        expect(fine["error"] is None and fine["ccMode"] == "off", fine)


# ---- sharing, stopping, dying ---------------------------------------------------------------------------------------

@test
def a_locked_device_is_waited_for(folder):
    m = Machine(folder, "h100:1")
    m.state.mkdir(parents=True)
    with open(m.state / f"{GPU1}.lock", "w", encoding="ascii") as lock:
        lock.write("cc-manager (pid 4711)\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = m.gpucc("mode", "query", "--wait=100ms", rc=1)
        expect("cc-manager (pid 4711) holds" in done.out, done.out)
        log = m.dir / "log"
        process = simlib.start(m.argv("mode", "set", "on"), log)
        wait_until(lambda: "waiting for a device" in simlib.tail(log), 10, "the message")
    wait_until(lambda: process.poll() is not None, 20, "its end")
    expect(process.returncode == 0, simlib.tail(log))
    m.check("on")


@test
def used_while_it_waited_is_not_touched(folder):
    m = Machine(folder, "h100:1")
    m.query()
    with open(m.state / f"{GPU1}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = m.dir / "log"
        process = simlib.start(m.argv("mode", "set", "on"), log)
        wait_until(lambda: "waiting for a device" in simlib.tail(log), 10, "the message")
        run([SIM_BIN / "gpusim", "fault", f"--state={m.sim}", "add", "held"], check=True)
        time.sleep(0.3)
    wait_until(lambda: process.poll() is not None, 20, "its end")
    expect(process.returncode == 1 and "in use: process" in simlib.tail(log), simlib.tail(log))
    expect(m.truth()[0]["resets"] == 0, "it was reset")


@test
def two_at_once_take_turns(folder):
    m = Machine(folder, "h100:2")
    script = (f"{BIN}/gpucc mode set on --state-dir={m.state} & a=$!\n"
              f"{BIN}/gpucc mode set on --state-dir={m.state}; rc=$?; wait $a && exit $rc")
    done = run([SIM_BIN / "gpusim", "run", f"--devices={m.devices}", f"--state={m.sim}", "--strict", *m.options, "--",
                "/bin/sh", "-c", script])
    expect(done.rc == 0, done.err)
    m.check("on")
    expect([d["resets"] for d in m.truth()] == [1, 1], "both switched")


@test
def asked_to_stop_it_stops(folder):
    m = Machine(folder, "h100:2", boot_ms=2000)
    log = m.dir / "log"
    process = simlib.start(m.argv("mode", "set", "on"), log)
    wait_until(lambda: "step=reset" in simlib.tail(log), 10, "the reset")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)  # gpusim passes it on
    process.wait(10)
    expect(process.returncode == 1, f"exit {process.returncode}\n{simlib.tail(log, 40)}")
    expect(time.monotonic() - begin < 5, "took its time")
    expect({d["driver"] for d in m.truth()} == {"vfio-pci"}, m.truth())
    m.gpucc("mode", "set", "on")
    m.check("on")


KILLS = int(os.environ.get("GPUCC_KILLS", "40"))


def points(folder, devices, mode):
    m = Machine(folder, devices)
    m.query()
    counted = m.gpucc("mode", "set", mode, sim=["--count-points"]).err
    return json.loads(re.findall(r'\{"points".*\}', counted)[-1])["points"]


def killed(folder, devices, mode, at):
    m = Machine(folder, devices)
    m.query()
    m.gpucc("mode", "set", mode, sim=[f"--kill-at={at}"], rc=137)
    m.gpucc("mode", "set", mode)
    m.check(mode)
    expect({d["powerControl"] for d in m.truth()} == {"auto"}, f"power/control after a kill at {at}")


@test
def killed_anywhere_it_converges(folder):
    seed = random.randrange(1 << 32)
    sample = random.Random(seed)
    total = 0
    for devices, mode in (("h100:1,ls10:1", "ppcie"), ("b200:1", "devtools")):
        n = points(folder / f"count-{mode}", devices, mode)
        total += n
        for at in sorted(sample.sample(range(1, n + 1), min(KILLS // 2, n))):
            try:
                killed(folder / f"{mode}-{at}", devices, mode, at)
            except AssertionError as e:
                raise AssertionError(f"{devices} to {mode}, killed at point {at} of {n}: {e}") from None
    return f"{KILLS} of {total} points, seed {seed}"


# ---- broken trees -------------------------------------------------------------------------------------------------

def tree(folder, devices=("0000:1b:00.0", "0000:43:00.0")):
    """A sysfs tree of plain files: nothing answers in BAR0, so each device has some error."""
    for i, bdf in enumerate(devices):
        d = folder / "bus/pci/devices" / bdf
        (d / "power").mkdir(parents=True)
        config = bytearray(4096)
        config[0:4], config[4:8], config[0x34] = bytes.fromhex("de103023"), bytes.fromhex("0200 1000"), 0x60
        config[0x60:0x62] = bytes([1, 0])
        for name, text in (("vendor", "0x10de\n"), ("device", "0x2330\n"), ("class", "0x030200\n"),
                           ("subsystem_vendor", "0x10de\n"), ("subsystem_device", "0x16c1\n"), ("revision", "0xa1\n"),
                           ("modalias", "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00\n"),
                           ("reset", ""), ("reset_method", "flr bus\n"), ("driver_override", "(null)\n"),
                           ("power/control", "on\n"),
                           ("resource", f"0x{0x20000000 + (i << 24):x} 0x{0x20ffffff + (i << 24):x} 0x14220c\n"
                            + "0x0 0x0 0x0\n" * 12)):
            (d / name).write_text(text)
        (d / "config").write_bytes(config)
        with open(d / "resource0", "wb") as f:
            f.truncate(16 << 20)
    return folder / "bus/pci/devices" / devices[0]


def on_tree(folder, *arguments):
    done = run([BIN / "gpucc", *arguments, f"--sysfs-root={folder / 'sys'}", f"--state-dir={folder / 'state'}"])
    expect(done.rc in (0, 1), f"exit {done.rc}: {done.err}")
    return done


ATTRIBUTES = ["vendor", "device", "class", "subsystem_vendor", "subsystem_device", "revision", "modalias", "reset",
              "reset_method", "driver_override", "power/control", "resource", "config", "resource0"]
RUBBISH = {"empty": b"", "text": b"rubbish\n", "long": b"0x" + b"f" * 8192, "binary": bytes(range(256)) * 16}


def damaged(folder, damage):
    """Each attribute of one device damaged in turn: two rows, no crash, no hang, and the other row as it was."""
    for attribute in ATTRIBUTES:
        here = folder / attribute.replace("/", "-")
        device = tree(here / "sys")
        damage(device / attribute)
        devices = on_tree(here, "mode", "query", "-o", "json").json()["devices"]
        other = [d for d in devices if d["bdf"] == GPU2]
        expect(len(other) == 1 and "in recovery mode" in other[0]["error"], (attribute, devices))
        mine = [d for d in devices if d["bdf"] == GPU1]
        if attribute in ("config", "resource0", "resource"):
            expect(len(mine) == 1 and mine[0]["error"] and mine[0]["healthy"] is False, (attribute, devices))
        expect(on_tree(here, "mode", "set", "on").rc == 1, attribute)


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def make_folder(path):
    path.unlink()
    path.mkdir()


simlib.add("missing files", lambda folder: damaged(folder, lambda path: path.unlink()))
simlib.add("folders in place of files", lambda folder: damaged(folder, make_folder))
for _name, _content in RUBBISH.items():
    simlib.add(f"rubbish in files: {_name}",
               lambda folder, content=_content: damaged(folder, lambda path: replace(path, content)))


@test
def ids_come_from_the_alias_when_files_are_missing(folder):
    device = tree(folder / "sys")
    for name in ("vendor", "device", "class"):
        (device / name).unlink()
    mine = on_tree(folder, "mode", "query", "-o", "json").json()["devices"][0]
    expect((mine["deviceId"], mine["chip"], mine["name"]) == ("2330", "gh100", "H100"), mine)


@test
def a_device_without_any_id_is_not_silently_left_out(folder):
    device = tree(folder / "sys")
    for name in ("vendor", "modalias"):
        (device / name).unlink()
    done = on_tree(folder, "mode", "query", "-o", "json")
    mine = done.json()["devices"][0]
    expect(done.rc == 1 and mine["bdf"] == GPU1 and "vendor" in mine["error"], mine)


@test
def no_sysfs_at_all(folder):
    done = run([BIN / "gpucc", "mode", "query", f"--sysfs-root={folder / 'nowhere'}", f"--state-dir={folder}"])
    expect(done.rc == 1 and str(folder / "nowhere/bus/pci/devices") in done.err, done.err)


# ---- usage --------------------------------------------------------------------------------------------------------

@test
def usage_errors_are_one_line_and_exit_2(_):
    for arguments, says in (
            ((), "allowed: mode"),
            (("frobnicate",), "unknown command 'frobnicate'; allowed: mode"),
            (("ready",), "unknown command"), (("doctor", "host"), "unknown command"), (("vfio", "status"), "unknown command"),
            (("attest",), "unknown command"), (("evidence", "collect"), "unknown command"),
            (("mode",), "allowed: query, set, settings"),
            (("mode", "frob"), "unknown command 'mode frob'"),
            (("mode", "query", "--frob"), "unknown option '--frob'"),
            (("--frob", "mode", "query"), "unknown option '--frob'"),
            (("mode", "query", "surplus"), "unexpected argument 'surplus'"),
            (("mode", "set"), "allowed: off, on, devtools, ppcie"),
            (("mode", "set", "On"), "'On' is no mode; allowed: off, on, devtools, ppcie"),
            (("mode", "set", "on", "off"), "unexpected argument 'off'"),
            (("mode", "set", "on", "--device=41:00"), "'41:00' is no PCI address"),
            (("mode", "query", "-o", "yaml"), "allowed: text, json"),
            (("mode", "query", "--log-level=loud"), "allowed: debug, info, warn, error")):
        done = gpucc(*arguments)
        expect(done.rc == 2, (arguments, done.rc, done.err))
        expect(len(done.err.splitlines()) == 1 and says in done.err and not done.out, (arguments, done.err))
    bad = gpucc("mode", "query", env={**os.environ, "CC_CAPABLE_DEVICE_IDS": "h100"})
    expect(bad.rc == 2 and "CC_CAPABLE_DEVICE_IDS: 'h100'" in bad.err, bad.err)


@test
def help_and_version(_):
    for arguments in ((), ("mode",), ("mode", "query"), ("mode", "set"), ("mode", "settings")):
        done = gpucc(*arguments, "--help")
        expect(done.rc == 0 and "mode" in done.out and not done.err, (arguments, done))
    expect(re.fullmatch(r"gpucc \S+ \S+\n", gpucc("--version").out), gpucc("--version").out)


@test
def options_may_stand_before_the_command(folder):
    m = Machine(folder, "h100:1")
    argv = m.argv()[:-2] + [BIN / "gpucc", "-o", "json", "--state-dir", m.state, "mode", "query"]
    expect(run(argv).json()["devices"][0]["name"] == "H100", argv)


if __name__ == "__main__":
    simlib.main()
