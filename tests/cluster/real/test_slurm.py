"""``tools/clusters/slurm.sh`` on Slurm with two nodes: exit codes, a stage on both nodes, a job that is stopped and submitted again.

The tests depend on their order: the last one looks for what the jobs of the others left.
"""

import json
import re
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

from tools.clusters.namespaces.clusters import wait_until
from tools.clusters.namespaces.slurm import CPUS, SlurmCluster

NODES = ("n31", "n32")
FACES = ["python", "jobs/prepare_faces.py", "smoke", "--compute.decode.workers", "4", "--compute.decode.memory-gb", "0.3"]
"""Four workers with one CPU each: all CPUs of both nodes."""
REPORT = "import json, ray; ray.init(logging_level='ERROR'); print(json.dumps(ray.cluster_resources()), flush=True); raise SystemExit(3)"


@pytest.fixture(scope="module")
def slurm(hosts):
    slurm = SlurmCluster(hosts, NODES)
    yield slurm
    slurm.close()
    for name in NODES:
        hosts.power_off(name)


@pytest.fixture
def log(slurm, request) -> Path:
    return slurm.folder / f"{request.node.name}.log"


def tables(results: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in results.glob("faces/**/outputs/*.parquet")}


def test_the_job_has_all_cpus_and_the_exit_code_of_its_command(slurm, hosts, log):
    job = slurm.submit("python", "-c", REPORT, log=log)
    assert job.wait(timeout=TIMEOUT_S) == 3, log.read_text()
    resources = json.loads(re.search(r"^\{.*\}$", log.read_text(), re.MULTILINE)[0])
    assert resources["CPU"] == len(NODES) * CPUS
    assert {f"node:{hosts.address(name)}" for name in NODES} <= resources.keys()


def test_a_stopped_job_ends_and_the_same_line_continues_it(slurm, hosts, log):
    results = slurm.folder / "results"
    line = [*FACES, "--storage", str(results), "--data.synthetic-dir", str(slurm.folder / "videos")]
    first = slurm.submit(*line, log=log)
    wait_until(lambda: tables(results), timeout=TIMEOUT_S, what="the first table of faces", interval=0.2, log=log)
    slurm.run("scancel", "--batch", "--signal=TERM", slurm.run("squeue", "--noheader", "--format=%A").strip())
    assert first.wait(timeout=TIMEOUT_S) == 130, log.read_text()
    finished = tables(results)
    assert "exit=130 stopped" in log.read_text()
    assert not list(results.glob("faces/**/records/*"))

    assert slurm.submit(*line, log=log).wait(timeout=TIMEOUT_S) == 0, log.read_text()
    assert list(results.glob("faces/**/records/*"))
    assert finished.items() <= tables(results).items(), "tables of the first job were written again"
    assert len(tables(results)) > len(finished)


def test_nothing_of_the_jobs_stays_on_the_nodes(slurm, hosts):
    command = "ps -eo stat=,args= | grep -E 'raylet|gcs_server' | grep -vE '^Z|grep'; ls /tmp/ray | grep abaw-"

    def left(name: str) -> str:
        return hosts.run(name, "bash", "-c", command, check=False).stdout

    for name in NODES:
        wait_until(lambda name=name: not left(name), timeout=TIMEOUT_S, what=f"the end of Ray on {name}")
    assert not list((slurm.home / ".abaw_ray").iterdir())
