"""Three machines, ``ray up`` from ``tools/clusters/local.yaml``, jobs through ``ray job submit``, results in a real S3 server; machines die.

One story in the order of the tests: the cluster comes up, does the line undisturbed, then once more while machines are switched off.
"""

import json

from tools.clusters.namespaces.clusters import FEW, TABLES, assert_same, finish, parts, recorded, results, wait_until, workers

EPOCHS = 12
"""Enough of them to lose a machine in their middle."""
TRIALS = 4
"""Two at a time, so that some are left when the first are done."""
SMOKE = ["python", "jobs/pipeline.py", "smoke", "--on", "cpu-2", *FEW, "--encoder.epochs", str(EPOCHS), "--sweep.trials", str(TRIALS)]


def begin(cluster, store, name: str):
    where = ["--storage", f"s3://abaw/{name}", "--data.synthetic-dir", "s3://abaw/drawn", *store.options]
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


def test_machines_that_die_in_each_stage_cost_nothing_but_time(cluster, hosts, store):
    job, log = begin(cluster, store, "rough")
    begun = {
        "faces": lambda: parts(store, "rough"),
        "encoder": lambda: f"epoch 1 of {EPOCHS}" in log.read_text(),
        "features": lambda: parts(store, "rough", "features"),
        "fusion": lambda: parts(store, "rough", "fusion"),
    }
    for number, (stage, has_begun) in enumerate(begun.items()):
        wait_until(has_begun, timeout=300, what=f"the first of the {stage}", step=0.1)
        assert not recorded(store, "rough", stage), f"{stage} was done before a machine could be lost"
        machine = ("n3", "n2")[number % 2]
        hosts.power_off(machine)
        hosts.boot(machine)
        if stage in ("faces", "encoder"):  # what follows them takes longer than the machine does to come back
            wait_until(lambda: workers(hosts) < 2, timeout=60, what=f"Ray to miss {machine}")
            wait_until(lambda: workers(hosts) == 2, timeout=180, what=f"{machine}, which was off", step=1)
    finish(job, log)
    assert_same(results(store, "rough"), results(store, "quiet"))
    assert scores(store, "rough") == scores(store, "quiet")
    wait_until(lambda: workers(hosts) == 2, timeout=180, what="the machines that were off", step=2)
