"""Machines out of one kernel, for tests: real addresses, process tables, homes and sshd, so that ``ray up`` is what it is elsewhere.

Each machine ``n1``, ``n2``, ... has network, process, mount, host name and IPC namespaces of its own. ``lap`` is the operator's laptop: it
holds the bridge, and commands like ``ray up`` run on it. Their network leads nowhere else. Needs root and the Debian packages in ``NEEDED``.
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

import psutil

PROJECT = Path(__file__).parents[3]
NEEDED = {
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
}
"""Program -> the Debian package that has it."""
LAP = "lap"


def missing() -> str:
    """What this machine lacks to make others, in one line; nothing where it lacks nothing."""
    if os.geteuid() != 0:
        return "machines are made of namespaces, which needs root"
    if subprocess.run(["unshare", "-n", "-p", "-m", "-f", "true"], capture_output=True, check=False).returncode:
        return "this machine lets nobody make namespaces (unshare -n -p -m); a container needs CAP_SYS_ADMIN"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = sorted({package for program, package in NEEDED.items() if shutil.which(program, path=path) is None})
    return f"apt-get install --no-install-recommends {' '.join(packages)}" if packages else ""


class Hosts:
    """The machines of one test, and what can happen to them."""

    def __init__(self, state: Path, *, net: str = "10.77.0", prefix: str = "abaw") -> None:
        """Take a folder for their keys and logs, and the first three numbers of their addresses."""
        self.state, self.net, self.prefix = state, net, prefix
        self.venv = Path(sys.prefix)
        self.env: dict[str, str] = {}
        """Variables of every command that is run here."""
        self._disks = tempfile.TemporaryDirectory(prefix="abaw-hosts-", dir="/dev/shm")
        self._firsts: dict[str, int] = {}
        self._parents: dict[str, subprocess.Popen] = {}

    def up(self, *numbers: int) -> None:
        """Start the laptop and machines of these numbers."""
        self.down()
        self.state.mkdir(parents=True, exist_ok=True)
        for key in ("id", "hostkey"):
            if not (self.state / key).exists():
                _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.state / key))
        lap = self._netns(LAP)
        _run("ip", "netns", "add", lap)
        _run("ip", "-n", lap, "link", "set", "lo", "up")
        _run("ip", "-n", lap, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", lap, "address", "add", f"{self.address(LAP)}/24", "dev", "br0")
        _run("ip", "-n", lap, "link", "set", "br0", "up")
        self._start(LAP)
        for number in numbers:
            self.boot(f"n{number}")

    def boot(self, name: str, *, bound: Sequence[str] = ()) -> None:
        """Start one machine, or start it again after ``power_off``, with its home as it was; ``bound``: a command that limits what follows."""
        here, lap = self._netns(name), self._netns(LAP)
        if not Path(f"/run/netns/{here}").exists():
            _run("ip", "netns", "add", here)
            _run("ip", "-n", here, "link", "set", "lo", "up")
            _run("ip", "-n", lap, "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", here)
            _run("ip", "-n", lap, "link", "set", f"v{name}", "master", "br0", "up")
            _run("ip", "-n", here, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        self.heal(name)
        self._start(name, *bound)

    def address(self, name: str) -> str:
        """The machine's IP address."""
        return f"{self.net}.{254 if name == LAP else int(name[1:])}"

    def add_address(self, address: str) -> None:
        """One more address for the laptop, which the others reach by their only route."""
        _run("ip", "-n", self._netns(LAP), "address", "add", f"{address}/32", "dev", "br0")

    def start(self, name: str, *command: str, env: Mapping[str, str] | None = None, **options: object) -> subprocess.Popen:
        """Start a command on a machine, in the project's folder, with nothing of the developer's environment."""
        own = {
            "HOME": "/root", "USER": "root", "LOGNAME": "root", "TERM": "dumb", "LANG": "C.UTF-8", "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{self.venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        enter = ["nsenter", "-t", str(self._firsts[name]), "-n", "-m", "-p", "-u", "-i", "-r", f"--wdns={PROJECT}", "env", "-i"]
        settings = [f"{key}={value}" for key, value in {**own, **self.env, **(env or {})}.items()]
        return subprocess.Popen([*enter, *settings, *command], stdin=subprocess.DEVNULL, **options)

    def run(
        self, name: str, *command: str, timeout: float = 300, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess:
        """Run a command on a machine to its end; with ``check``, its failure is one of the test, with what it said."""
        process = self.start(name, *command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(f"{name}: {' '.join(command)} took more than {timeout:g} s: {said[-3000:]}") from None
        assert not check or process.returncode == 0, f"{name}: {' '.join(command)} ended with {process.returncode}: {said[-3000:]}"
        return subprocess.CompletedProcess(command, process.returncode, said)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Run this thread, and the processes that it starts, in the network of that machine."""
        with Path("/proc/thread-self/ns/net").open() as before, Path(f"/run/netns/{self._netns(name)}").open() as there:
            _set_network(there.fileno())
            try:
                yield
            finally:
                _set_network(before.fileno())

    def cut(self, name: str) -> None:
        """Its network is gone; whatever runs there goes on."""
        _run("ip", "-n", self._netns(name), "link", "set", "eth0", "down")

    def heal(self, name: str) -> None:
        """Its network is there. The route leads to the laptop, which passes nothing on: Ray wants one to find its own address."""
        _run("ip", "-n", self._netns(name), "link", "set", "eth0", "up")
        _run("ip", "-n", self._netns(name), "route", "replace", "default", "via", self.address(LAP))

    def power_off(self, name: str) -> None:
        """All that runs there is gone at once."""
        os.kill(self._firsts.pop(name), signal.SIGKILL)
        self._parents.pop(name).wait()

    def down(self) -> None:
        """End all of them."""
        for name in list(self._firsts):
            self.power_off(name)
        for line in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines():
            if line.startswith(f"{self.prefix}-"):
                _run("ip", "netns", "delete", line.split()[0])

    def _netns(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def _start(self, name: str, *bound: str) -> None:
        """Start process 1; killing it kills everything of the machine. It dies with us, too, however we end."""
        (self.state / name).mkdir(parents=True, exist_ok=True)
        unshare = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--mount", "--uts", "--ipc"]
        boot = [str(Path(__file__).with_name("machine.sh")), name, self.address(name), str(self.state), str(self.venv), str(PROJECT)]
        boot.append(self._disks.name)
        with (self.state / name / "boot.log").open("w") as log:
            command = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self._netns(name)}", *bound, *unshare, *boot]
            parent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self._parents[name] = parent
        for _ in range(200):
            first = psutil.Process(parent.pid).children() if parent.poll() is None else []
            if first and first[0].name() in ("sshd", "sleep"):
                self._firsts[name] = first[0].pid
                return
            time.sleep(0.05)
        raise AssertionError(f"machine {name} did not start: {(self.state / name / 'boot.log').read_text()}")


def _set_network(number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(number, 0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
