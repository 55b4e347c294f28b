"""Three machines, ``ray up`` from ``tools/clusters/local.yaml``, jobs through ``ray job submit``, results in a real S3 server; machines die.

One story in the order of the tests: the cluster comes up, does the line undisturbed, then once more while machines are switched off.
"""

import io
import json
import re

import pyarrow.parquet as pq
import pytest

from clusters import local_cluster, wait_until

FEW = ["--compute.item-workers", "2", "--compute.feature-workers", "2", "--compute.item-memory-gb", "0.3", "--compute.feature-memory-gb", "0.5"]
SMOKE = ["python", "jobs/pipeline.py", "smoke", "--on", "cpu-2", *FEW]
TABLES = ("faces", "features", "predictions")


@pytest.fixture(scope="module")
def cluster(hosts, store):
    for name in ("n1", "n2", "n3"):
        hosts.boot(name)
    made = local_cluster(hosts, workers=2)
    made.up()
    yield made
    made.down()


def workers(hosts) -> int:
    """Machines beside the head that Ray counts."""
    said = hosts.run("n1", "bash", "-c", ". ~/abaw_ray/node/environment.sh; ray status", check=False).stdout
    return sum(map(int, re.findall(r"^ (\d+) ", said.partition("Active:")[2].partition("Pending:")[0], re.M))) - 1


def run_smoke(cluster, store, name: str):
    where = ["--storage", f"s3://abaw/{name}", "--data.drawn", "s3://abaw/drawn", *store.options]
    return cluster.job(*SMOKE, *where, log=cluster.hosts.state / f"{name}.log")


def finish(job, cluster, name: str) -> str:
    job.wait(timeout=600)
    said = (cluster.hosts.state / f"{name}.log").read_text()
    assert job.returncode == 0 and "exit=0" in said, said[-3000:]
    return said


def results(store, name: str) -> dict:
    """The tables of a run and what it says of itself, by address below the run's."""
    found = {}
    for key in store.names(f"{name}/"):
        short = key.removeprefix(f"{name}/")
        if short.startswith(TABLES) and short.endswith(".parquet"):
            found[short] = pq.read_table(io.BytesIO(store.read(key)))
    return found


def scores(store, name: str) -> dict:
    summary = json.loads(store.read(f"{name}/summary.json"))
    return {key: summary[key] for key in ("official_val", "cv", "visual_only", "audio_only", "failures")}


def test_the_cluster_comes_up_with_all_its_machines(cluster, hosts):
    wait_until(lambda: workers(hosts) == 2, timeout=120, what="two workers beside the head", step=2)


def test_the_line_runs_on_it_and_its_results_are_in_the_store(cluster, store):
    said = finish(run_smoke(cluster, store, "quiet"), cluster, "quiet")
    assert "submission:" in said
    assert {key.partition("/")[0] for key in results(store, "quiet")} == set(TABLES)


def test_machines_that_die_cost_nothing_but_time(cluster, hosts, store):
    job = run_smoke(cluster, store, "rough")
    wait_until(lambda: any("/parts/" in key for key in store.names("rough/faces/")), timeout=240, what="a first video's faces")
    assert not any("/records/" in key for key in store.names("rough/faces/")), "the videos were done before a machine could be lost"
    hosts.power_off("n3")
    wait_until(lambda: any("/records/" in key for key in store.names("rough/faces/")), timeout=240, what="all faces, with one machine less")
    hosts.boot("n3")  # comes back, and the cluster takes it in
    log = hosts.state / "rough.log"
    wait_until(lambda: "epoch 1 of 2" in log.read_text(), timeout=240, what="the first epoch")
    wait_until(lambda: workers(hosts) == 2, timeout=120, what="the machine that came back", step=2)
    hosts.power_off("n2")
    finish(job, cluster, "rough")
    quiet, rough = results(store, "quiet"), results(store, "rough")
    assert quiet.keys() == rough.keys()
    assert [name for name in quiet if not quiet[name].equals(rough[name])] == []
    assert scores(store, "quiet") == scores(store, "rough")
