"""Machines made of Linux namespaces, with their own addresses, processes, home folders and sshd, on which ``ray up`` runs unchanged.

Each machine ``n1``, ``n2``, ... has its own network, process, mount, host name and IPC namespaces. ``client`` is the operator's machine: it
has the network bridge, and commands like ``ray up`` run on it. The network is not connected to any other. Needs root and the Debian packages
in ``REQUIRED_PROGRAMS``.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).parents[3]
REQUIRED_PROGRAMS = {
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "pkill": "procps",
    "curl": "curl",
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
}
"""Program -> the Debian package that contains it."""
CLIENT = "client"
"""Name of the operator's machine."""


def missing_requirements() -> str:
    """Return in one line what this machine lacks to create namespaces; an empty string if it lacks nothing."""
    if os.geteuid() != 0:
        return "creating namespaces needs root"
    if subprocess.run(["unshare", "-n", "-p", "-m", "-f", "true"], capture_output=True, check=False).returncode:
        return "unshare -n -p -m is not permitted; a container needs CAP_SYS_ADMIN"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = sorted({package for program, package in REQUIRED_PROGRAMS.items() if shutil.which(program, path=path) is None})
    return f"apt-get install --no-install-recommends {' '.join(packages)}" if packages else ""


class Hosts:
    """A network of machines, which can be disconnected and switched off."""

    def __init__(self, state: Path, *, net: str = "10.77.0", prefix: str = "abaw") -> None:
        """Set the folder of keys and logs, the first three numbers of the addresses, and the prefix of the network namespaces' names."""
        self.state, self.net, self.prefix = state, net, prefix
        self.venv = Path(sys.prefix)
        self.env: dict[str, str] = {}
        """Environment variables of every command that runs on a machine."""
        self._disks = tempfile.TemporaryDirectory(prefix="abaw-hosts-", dir="/dev/shm")
        self._init_pids: dict[str, int] = {}
        self._parents: dict[str, subprocess.Popen] = {}

    def create(self, *numbers: int) -> None:
        """Start the client and the machines with these numbers; removes those of an earlier process."""
        self.remove()
        self.state.mkdir(parents=True, exist_ok=True)
        for key in ("id", "hostkey"):
            if not (self.state / key).exists():
                _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.state / key))
        client = self._netns(CLIENT)
        _run("ip", "netns", "add", client)
        _run("ip", "-n", client, "link", "set", "lo", "up")
        _run("ip", "-n", client, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", client, "address", "add", f"{self.address(CLIENT)}/24", "dev", "br0")
        _run("ip", "-n", client, "link", "set", "br0", "up")
        self._start(CLIENT)
        for number in numbers:
            self.boot(f"n{number}")

    def boot(self, name: str, *, command_prefix: Sequence[str] = ()) -> None:
        """Start a machine, or restart it after ``power_off`` with the same home folder.

        Args:
            name: ``n1``, ``n2``, ...
            command_prefix: a command that runs its arguments, for example with limited CPU time.
        """
        machine, client = self._netns(name), self._netns(CLIENT)
        if not Path(f"/run/netns/{machine}").exists():
            _run("ip", "netns", "add", machine)
            _run("ip", "-n", machine, "link", "set", "lo", "up")
            _run("ip", "-n", client, "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", machine)
            _run("ip", "-n", client, "link", "set", f"v{name}", "master", "br0", "up")
            _run("ip", "-n", machine, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        self.reconnect(name)
        self._start(name, *command_prefix)

    def address(self, name: str) -> str:
        """Return the machine's IP address."""
        return f"{self.net}.{254 if name == CLIENT else int(name[1:])}"

    def add_address(self, address: str) -> None:
        """Add an address to the client; the other machines reach it by their default route."""
        _run("ip", "-n", self._netns(CLIENT), "address", "add", f"{address}/32", "dev", "br0")

    def popen(self, name: str, *command: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen:
        """Start a command on a machine, in the project's folder, without the caller's environment variables."""
        defaults = {
            "HOME": "/root", "USER": "root", "LOGNAME": "root", "TERM": "dumb", "LANG": "C.UTF-8", "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{self.venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        enter = ["nsenter", "-t", str(self._init_pids[name]), "-n", "-m", "-p", "-u", "-i", "-r", f"--wdns={PROJECT}", "env", "-i"]
        settings = [f"{key}={value}" for key, value in {**defaults, **self.env, **(env or {})}.items()]
        return subprocess.Popen([*enter, *settings, *command], stdin=subprocess.DEVNULL, **options)

    def run(
        self, name: str, *command: str, timeout: float = 300, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess:
        """Run a command on a machine and wait for it; with ``check``, a failure is an AssertionError with the end of its output."""
        process = self.popen(name, *command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"{name}: {' '.join(command)} took more than {timeout:g} s: {output[-3000:]}") from None
        assert not check or process.returncode == 0, f"{name}: {' '.join(command)} ended with {process.returncode}: {output[-3000:]}"
        return subprocess.CompletedProcess(command, process.returncode, output)

    @contextmanager
    def in_network_of(self, name: str) -> Iterator[None]:
        """Run this thread, and the processes that it starts, in the network of that machine."""
        with Path("/proc/thread-self/ns/net").open() as previous, Path(f"/run/netns/{self._netns(name)}").open() as target:
            _set_network(target.fileno())
            try:
                yield
            finally:
                _set_network(previous.fileno())

    def disconnect(self, name: str) -> None:
        """Disconnect the machine from the network; its processes continue."""
        _run("ip", "-n", self._netns(name), "link", "set", "eth0", "down")

    def reconnect(self, name: str) -> None:
        """Connect the machine to the network. The default route, from which Ray derives the address, leads to the client, which forwards nothing."""
        _run("ip", "-n", self._netns(name), "link", "set", "eth0", "up")
        _run("ip", "-n", self._netns(name), "route", "replace", "default", "via", self.address(CLIENT))

    def power_off(self, name: str) -> None:
        """Kill all processes of the machine at once."""
        os.kill(self._init_pids.pop(name), signal.SIGKILL)
        self._parents.pop(name).wait()

    def remove(self) -> None:
        """Kill all machines and remove their networks and disks."""
        for name in list(self._init_pids):
            self.power_off(name)
        for line in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines():
            if line.startswith(f"{self.prefix}-"):
                _run("ip", "netns", "delete", line.split()[0])
        self._disks.cleanup()

    def _netns(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def _start(self, name: str, *command_prefix: str) -> None:
        """Start the machine's init process. When it ends, all processes of the machine are killed; it is killed when this process ends."""
        (self.state / name).mkdir(parents=True, exist_ok=True)
        unshare = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--mount", "--uts", "--ipc"]
        boot = [str(Path(__file__).with_name("machine.sh")), name, self.address(name), str(self.state), str(self.venv), str(PROJECT)]
        boot.append(self._disks.name)
        with (self.state / name / "boot.log").open("w") as log:
            command = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self._netns(name)}", *command_prefix, *unshare, *boot]
            parent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self._parents[name] = parent
        for _ in range(200):
            children = psutil.Process(parent.pid).children() if parent.poll() is None else []
            if children and children[0].name() in ("sshd", "sleep"):
                self._init_pids[name] = children[0].pid
                return
            time.sleep(0.05)
        raise AssertionError(f"machine {name} did not start: {(self.state / name / 'boot.log').read_text()}")


def _set_network(number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(number, 0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
