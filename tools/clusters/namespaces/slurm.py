"""A Slurm cluster on namespace machines: the controller on the client, one node on each machine, MUNGE for authentication."""

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.clusters.namespaces.clusters import wait_until
from tools.clusters.namespaces.hosts import CLIENT, Hosts

CPUS = 2
"""CPUs of each node. Ours."""
_CONF = """
ClusterName=abaw
SlurmctldHost={client}({client_address})
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=30
SlurmdParameters=config_overrides
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """Slurm on machines that share a home folder; submits jobs with ``tools/clusters/slurm.sh``."""

    def __init__(self, hosts: Hosts, names: Sequence[str]) -> None:
        """Boot the machines and start Slurm on them and on the client."""
        self.hosts, self.folder = hosts, hosts.state / "slurm"
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.conf = self.folder / "slurm.conf"
        addresses = {name: hosts.address(name) for name in names}
        nodes = "\n".join(f"NodeName={name} NodeAddr={address} CPUs={CPUS} RealMemory=2000 State=UNKNOWN" for name, address in addresses.items())
        texts = {"client": CLIENT, "client_address": hosts.address(CLIENT), "folder": self.folder, "nodes": nodes, "names": ",".join(names)}
        self.conf.write_text(_CONF.format(**texts))
        self._key = self.folder / "munge.key"
        self._key.write_bytes(secrets.token_bytes(128))
        self._key.chmod(0o400)
        for name in names:
            hosts.boot(name)
        for name in (CLIENT, *names):
            self._add_names(name, addresses)
            self._start_munge(name)
        (self.folder / "state").mkdir()
        hosts.run(CLIENT, "slurmctld", env=self.env)
        for name in names:
            hosts.run(name, "slurmd", env=self.env)
        wait_until(lambda: self._idle_nodes() == len(names), timeout=60, what="the nodes of Slurm")

    @property
    def env(self) -> dict[str, str]:
        """Environment of Slurm's commands, and with it of the jobs: all machines share one memory, and only /tmp/ray is private to each."""
        options = "--object-store-memory=150000000"
        return {"SLURM_CONF": str(self.conf), "HOME": str(self.home), "RAY_TMPDIR": "/tmp/ray", "ABAW_RAY_OPTIONS": options}

    def submit(self, *command: str, log: Path, nodes: int = 2) -> subprocess.Popen:
        """Submit a command on so many nodes; returns ``sbatch``, which ends with the exit code of the job.

        Args:
            command: The command line.
            log: File of the job's output; ``sbatch`` writes messages of its own to a file beside it.
            nodes: Number of nodes.
        """
        sbatch = ["sbatch", "--wait", f"--nodes={nodes}", f"--output={log}", "tools/clusters/slurm.sh", *command]
        with log.with_suffix(".sbatch").open("w") as messages:
            return self.hosts.popen(CLIENT, *sbatch, env=self.env, stdout=messages, stderr=subprocess.STDOUT)

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands on the client and return its output."""
        return self.hosts.run(CLIENT, *command, env=self.env).stdout

    def close(self) -> None:
        """End the daemons of the client; the machines end with the network."""
        for name in ("slurmctld", "munged"):
            self.hosts.run(CLIENT, "bash", "-c", f"kill $(cat /run/{name}.pid)")

    def _idle_nodes(self) -> int:
        return self.run("sinfo", "--noheader", "--Node", "--format=%t").split().count("idle")

    def _add_names(self, name: str, addresses: dict[str, str]) -> None:
        """Add the nodes' names to the machine's hosts file, in place: it is mounted."""
        with (self.hosts.state / name / "hosts").open("a") as file:
            file.writelines(f"{address} {other}\n" for other, address in {**addresses, CLIENT: self.hosts.address(CLIENT)}.items() if other != name)

    def _start_munge(self, name: str) -> None:
        files = {"key-file": self._key, "log-file": self.folder / f"munge-{name}.log", "seed-file": self.folder / f"munge-{name}.seed"}
        options = [f"--{option}={path}" for option, path in files.items()]
        self.hosts.run(name, "mkdir", "-p", "-m", "755", "/run/munge")
        self.hosts.run(name, "munged", "--force", "--pid-file=/run/munged.pid", *options)
