#!/usr/bin/python3
"""Networks without services, by meshlab and by Mininet, in turn: time up and
down, and memory, as a Markdown table and as JSON.

    sudo docs/performance/beside-mininet.py                        # all sizes, 5 rounds
    sudo docs/performance/beside-mininet.py --sizes 4,50 --rounds 9 --kinds single
    make mininet

For Debian 12, as root. The packages mininet and iputils-ping are installed when
they are missing; they start nothing. single,N has N hosts
at one switch; linear,N has N switches in a row with one host each. All switches
are in user space.

What is measured, in seconds of wall time:
  Mininet   from Mininet(...) to the return of start(), in a Python that runs
            already, beside an Open vSwitch that runs already; then stop().
            Bridges learn addresses by themselves (failMode=standalone), as a
            Mininet without controller cannot do otherwise.
  meshlab   the commands `meshlab up` and `meshlab down`, from exec to exit, with
            the start of Open vSwitch and of the controller, until every switch
            has its flows.
After up, the first host pings the last one (in Mininet's rows of more than 64
switches the 64th), which must succeed; then memory is
read. Neither is in the times. Memory is the proportional set size of all
processes of the lab (proc_pid_smaps_rollup(5)), the one that made it and
Open vSwitch included.

Mininet and its Open vSwitch run in namespaces of their own (network, mount, PID,
IPC) with their own /run: nothing of the machine's is touched, and nothing is left,
however the script ends.
"""

import argparse
import glob
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
LIMIT = 300  # seconds for one network
# Until the first answer: many bridges that learn take seconds on a busy machine.
PING = "for i in $(seq 30); do ping -c 1 -W 2 {} && break; done"


def pss_kib(pid_namespace):
    """The memory of all processes in a PID namespace, in KiB."""
    total = 0
    for ns in glob.glob("/proc/[0-9]*/ns/pid"):
        try:
            if os.readlink(ns) != pid_namespace:
                continue
            with open(os.path.dirname(os.path.dirname(ns)) + "/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:  # it has ended
            pass
    return total


# Mininet, inside its namespaces.


def inside(kind, size):
    """Brings a network up and down once, and prints the figures as JSON."""
    for command in ("mount -t tmpfs tmpfs /run", "ip link set lo up"):
        subprocess.run(command.split(), check=True)
    os.mkdir("/run/openvswitch")
    quiet = ["-vconsole:off", "-vsyslog:off", "-vfile:off"]
    subprocess.run(["ovsdb-tool", "create", "/run/conf.db", SCHEMA], check=True)
    socket = "/run/openvswitch/db.sock"
    daemons = [subprocess.Popen(["ovsdb-server", "/run/conf.db", "--remote=punix:" + socket, "--pidfile", *quiet])]
    while not os.path.exists(socket):
        time.sleep(0.01)
    subprocess.run(["ovs-vsctl", "--no-wait", "init"], check=True)
    daemons.append(subprocess.Popen(["ovs-vswitchd", "unix:" + socket, "--pidfile", *quiet]))
    subprocess.run(["ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:ready=yes"], check=True)  # waits for it

    from mininet.net import Mininet
    from mininet.node import OVSSwitch
    from mininet.topo import LinearTopo, SingleSwitchTopo

    topo = (SingleSwitchTopo if kind == "single" else LinearTopo)(size)
    begin = time.monotonic()
    net = Mininet(topo=topo, switch=OVSSwitch, controller=None, autoSetMacs=True)
    for switch in net.switches:
        switch.datapath, switch.failMode = "user", "standalone"
    net.start()
    up = time.monotonic() - begin
    # Mininet's row of 200 did not get an answer from the last host in 30 tries.
    first, last = net["h1"], net[f"h{size if kind == 'single' else min(size, 64)}"]
    answer = first.cmd(PING.format(last.IP()))
    if "bytes from" not in answer:
        sys.exit("mininet: no answer from the far host: " + answer)
    memory = pss_kib(os.readlink("/proc/self/ns/pid"))
    begin = time.monotonic()
    net.stop()
    down = time.monotonic() - begin
    for d in reversed(daemons):
        d.terminate()
        d.wait()
    print(json.dumps({"up": up, "down": down, "kib": memory}))


def mininet(kind, size):
    run = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc",
         sys.executable, os.path.abspath(__file__), "inside", kind, str(size)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    if run.returncode:
        sys.exit(f"mininet {kind},{size}: {run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


# meshlab, as a user types it.


def lab_file(kind, size):
    """A lab file of the same network."""
    address = lambda i: f"10.0.{i // 250}.{i % 250 + 1}"
    lines = ["name: beside-mininet", "nodes:"]
    lines += [f"  h{i}: {{ kind: host, ipv4: {address(i)}/16 }}" for i in range(1, size + 1)]
    lines += [f"  s{i}: {{ kind: switch }}" for i in range(1, (size if kind == "linear" else 1) + 1)]
    lines += ["links:"]
    for i in range(1, size + 1):
        lines.append(f'  - endpoints: ["h{i}:eth0", "s{i if kind == "linear" else 1}:{1 if kind == "linear" else i}"]')
    if kind == "linear":
        lines += [f'  - endpoints: ["s{i}:3", "s{i + 1}:2"]' for i in range(1, size)]
    return "\n".join(lines) + "\n", address(size)


def meshlab(program, folder, kind, size):
    text, target = lab_file(kind, size)
    path = os.path.join(folder, f"{kind}{size}.yaml")
    with open(path, "w") as f:
        f.write(text)
    name = f"beside-mininet-{os.getpid()}"

    def run(*args):
        done = subprocess.run([program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode:
            subprocess.run([program, "down", name], stdin=subprocess.DEVNULL, capture_output=True)
            sys.exit(f"meshlab {' '.join(args)}: {done.stdout}{done.stderr}")

    begin = time.monotonic()
    run("up", path, "--name", name)
    up = time.monotonic() - begin
    run("exec", "h1", "--lab", name, "--", "sh", "-c", PING.format(target) + " | grep 'bytes from'")
    with open(f"/run/meshlab/{name}/lab.json") as f:
        memory = pss_kib(os.readlink(f"/proc/{json.load(f)['pid']}/ns/pid"))
    begin = time.monotonic()
    run("down", name)
    return {"up": up, "down": time.monotonic() - begin, "kib": memory}


def main():
    if sys.argv[1:2] == ["inside"]:
        return inside(sys.argv[2], int(sys.argv[3]))
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--kinds", default="single,linear")
    p.add_argument("--sizes", default="4,50,200", help="hosts (default 4,50,200)")
    p.add_argument("--rounds", type=int, default=5, help="of each network; at most 3 of those with 200 hosts or more (default 5)")
    p.add_argument("--meshlab", default="bin/meshlab", help="the program (default bin/meshlab)")
    p.add_argument("--json", help="file for all figures")
    a = p.parse_args()
    if os.geteuid():
        sys.exit("beside-mininet.py: must run as root: sudo docs/performance/beside-mininet.py")
    missing = [package for program, package in (("mn", "mininet"), ("ping", "iputils-ping")) if not shutil.which(program)]
    if missing:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120"]
        subprocess.run([*apt, "update", "-qq"], check=True)
        subprocess.run([*apt, "install", "-qq", "-y", "--no-install-recommends", *missing], check=True)
    program = shutil.which(a.meshlab)
    if not program:
        sys.exit(f"beside-mininet.py: {a.meshlab} is missing: make build")
    program = os.path.abspath(program)
    version = lambda *c: subprocess.run(c, capture_output=True, text=True).stdout.splitlines()[0]
    result = {
        "mininet": subprocess.run(["mn", "--version"], capture_output=True, text=True).stderr.strip(),
        "meshlab": version(program, "--version"), "open_vswitch": version("ovs-vswitchd", "--version"),
        "processors": os.cpu_count(), "linux": platform.release(), "runs": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for kind in a.kinds.split(","):
            for size in map(int, a.sizes.split(",")):
                for round in range(min(a.rounds, 3) if size >= 200 else a.rounds):
                    pair = [("mininet", lambda: mininet(kind, size)), ("meshlab", lambda: meshlab(program, folder, kind, size))]
                    for tool, once in pair[::1 if round % 2 else -1]:  # who is first changes
                        try:
                            figures = once()
                        except subprocess.TimeoutExpired as e:
                            sys.exit(f"{tool} {kind},{size}: not done after {e.timeout} s")
                        result["runs"].append({"tool": tool, "kind": kind, "hosts": size, "round": round, **figures})
                        print(f"{kind},{size} round {round + 1} {tool}: up {figures['up']:.2f} down {figures['down']:.2f} s, "
                              f"{figures['kib'] / 1024:.0f} MiB, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(table(result))
    if a.json:
        if os.path.dirname(a.json):
            os.makedirs(os.path.dirname(a.json), exist_ok=True)
        with open(a.json, "w") as f:
            json.dump(result, f, indent=1)


def table(result):
    """Medians; the ratio is the median of the ratios of the rounds."""
    lines = [
        f"Mininet {result['mininet']}, {result['open_vswitch']}, {result['processors']} processors, Linux {result['linux']}; medians:", "",
        "| Network | Rounds | Mininet, up + down | meshlab, up + down | Mininet to meshlab (least, most) | Memory a host, Mininet | meshlab |",
        "|---|---|---|---|---|---|---|",
    ]
    networks = dict.fromkeys((r["kind"], r["hosts"]) for r in result["runs"])
    for kind, hosts in networks:
        of = lambda tool: [r for r in result["runs"] if (r["kind"], r["hosts"], r["tool"]) == (kind, hosts, tool)]
        a, b = (sorted(of(t), key=lambda r: r["round"]) for t in ("mininet", "meshlab"))
        total = lambda r: r["up"] + r["down"]
        med = lambda f, runs: statistics.median(f(r) for r in runs)
        ratios = [total(x) / total(y) for x, y in zip(a, b)]
        cell = lambda runs: f"{med(lambda r: r['up'], runs):.2f} + {med(lambda r: r['down'], runs):.2f} = {med(total, runs):.2f} s"
        memory = lambda runs: f"{med(lambda r: r['kib'], runs) / 1024 / hosts:.2f} MiB"
        lines.append(f"| {kind},{hosts} | {len(ratios)} | {cell(a)} | {cell(b)} | {statistics.median(ratios):.1f} ({min(ratios):.1f}, {max(ratios):.1f}) | {memory(a)} | {memory(b)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
