"""Three machines, ``ray up`` from ``tools/clusters/local.yaml``, jobs through ``ray job submit``, results in a real S3 server; machines die.

One story in the order of the tests: the cluster comes up, does the line undisturbed, then once more while machines are switched off.
"""

import json

from clusters import FEW, TABLES, assert_same, finish, parts, recorded, results, wait_until, workers

EPOCHS = 12
"""Enough of them to lose a machine in their middle."""
SMOKE = ["python", "jobs/pipeline.py", "smoke", "--on", "cpu-2", "--encoder.epochs", str(EPOCHS), *FEW]


def begin(cluster, store, name: str):
    where = ["--storage", f"s3://abaw/{name}", "--data.drawn", "s3://abaw/drawn", *store.options]
    log = cluster.hosts.state / f"{name}.log"
    return cluster.job(*SMOKE, *where, log=log), log


def scores(store, name: str) -> dict:
    summary = json.loads(store.read(f"{name}/summary.json"))
    return {key: summary[key] for key in ("official_val", "cv", "visual_only", "audio_only", "failures")}


def test_the_cluster_comes_up_with_all_its_machines(cluster, hosts):
    wait_until(lambda: workers(hosts) == 2, timeout=120, what="two workers beside the head", step=2)


def test_the_line_runs_on_it_and_its_results_are_in_the_store(cluster, store):
    said = finish(*begin(cluster, store, "quiet"))
    assert "submission:" in said
    assert {key.partition("/")[0] for key in results(store, "quiet")} == set(TABLES)


def test_machines_that_die_cost_nothing_but_time(cluster, hosts, store):
    job, log = begin(cluster, store, "rough")
    wait_until(lambda: parts(store, "rough"), timeout=240, what="a first video's faces", step=0.2)
    assert not recorded(store, "rough"), "the videos were done before a machine could be lost"
    hosts.power_off("n3")
    hosts.boot("n3")
    wait_until(lambda: recorded(store, "rough"), timeout=240, what="all faces, with one machine less")
    wait_until(lambda: f"epoch 1 of {EPOCHS}" in log.read_text(), timeout=240, what="the first epoch", step=0.2)
    wait_until(lambda: workers(hosts) == 2, timeout=60, what="the machine that was off", step=1)
    assert f"epoch {EPOCHS} of" not in log.read_text(), "the training was done before a machine could be lost"
    hosts.power_off("n2")
    finish(job, log)
    assert_same(results(store, "rough"), results(store, "quiet"))
    assert scores(store, "rough") == scores(store, "quiet")
    hosts.boot("n2")
    wait_until(lambda: workers(hosts) == 2, timeout=180, what="the machine that was off", step=2)
