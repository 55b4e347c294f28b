"""Three machines, ``ray up`` of ``tools/clusters/local.yaml``, jobs by ``ray job submit``, results in an S3 server; machines are lost.

The tests depend on their order: the cluster starts, runs the pipeline undisturbed, then again while machines are switched off, then its sweep alone
while one is disconnected and the head is lost.
"""

import json

from timeouts import TIMEOUT_S

from tools.clusters.namespaces.clusters import (
    SMALL_COMPUTE,
    TABLES,
    alive_workers,
    assert_same_tables,
    has_record,
    outputs,
    results,
    wait_for_success,
    wait_until,
)

EPOCHS = 8
"""Enough to lose a machine during training."""
TRIALS = 3
"""Of each kind of model. Two run at a time, so some are left when the first are done."""
KINDS = ("fused", "visual", "speech")
SMOKE = [
    "python",
    "jobs/pipeline.py",
    "smoke",
    "--cluster-size",
    "cpu-2",
    *SMALL_COMPUTE,
    *(part for stage in ("decode", "features", "training", "fusion") for part in (f"--compute.{stage}.cpus", "2")),
    "--encoder.epochs",
    str(EPOCHS),
    "--sweep.trials",
    str(TRIALS),
]
"""A worker, a rank and a trial take both CPUs of a machine, so each machine has one."""


def submit_pipeline(cluster, store, name: str):
    where = ["--storage", f"s3://abaw/{name}", "--data.synthetic-dir", "s3://abaw/synthetic", *store.options]
    log = cluster.hosts.state / f"{name}.log"
    return cluster.submit(*SMOKE, *where, log=log), log


def trials(store) -> dict:
    """Finished trials of the disturbed run with their times of writing."""
    return {key: when for key, when in outputs(store, "disturbed", "fusion").items() if "/trials/" in key}


def scores(store, name: str) -> dict:
    (key,) = (key for key in store.list_objects(f"{name}/runs/") if key.endswith("/summary.json"))
    summary = json.loads(store.read(key))
    return {key: summary[key] for key in ("official_val", "cv", "visual_only", "audio_only", "failures")}


def test_the_cluster_starts_with_all_machines(cluster, hosts):
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="two workers beside the head", interval=2)


def test_the_pipeline_runs_and_stores_its_results(cluster, store):
    log = wait_for_success(*submit_pipeline(cluster, store, "undisturbed"))
    assert "submission:" in log
    assert {key.partition("/")[0] for key in results(store, "undisturbed")} == set(TABLES)


def test_the_log_and_the_record_of_the_job_are_in_the_store(store):
    (log,) = store.list_objects("undisturbed/logs/")
    assert f"epoch {EPOCHS} of {EPOCHS}" in store.read(log).decode()
    (key,) = (key for key in store.list_objects("undisturbed/runs/") if key.endswith("/run.json"))
    record = json.loads(store.read(key))
    assert (record["command"], record["status"]) == ("pipeline", "done")
    encoder = record["stages"]["encoder"]
    assert set(encoder["machine_hours"]) <= {"machine", "local.cluster.node"}
    assert sum(encoder["machine_hours"].values()) > 2 * encoder["seconds"] / 3600, "three machines were there"


def test_results_are_the_same_when_a_machine_is_lost_in_each_stage(cluster, hosts, store):
    job, log = submit_pipeline(cluster, store, "disturbed")
    started = {
        "faces": lambda: outputs(store, "disturbed"),
        "encoder": lambda: f"epoch 1 of {EPOCHS}" in log.read_text(),
        "features": lambda: outputs(store, "disturbed", "features"),
        "fusion": lambda: trials(store),
    }
    for number, (stage, has_started) in enumerate(started.items()):
        wait_until(has_started, timeout=TIMEOUT_S, what=f"the first output of {stage}", interval=0.1)
        assert not has_record(store, "disturbed", stage), f"{stage} was complete before a machine could be lost"
        machine = ("n3", "n2")[number % 2]
        hosts.power_off(machine)
        hosts.boot(machine)
        if stage in ("faces", "encoder"):  # the stages after them outlast the machine's restart
            wait_until(lambda: alive_workers(hosts) < 2, timeout=TIMEOUT_S, what=f"the loss of {machine} in Ray")
            wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what=f"the return of {machine}", interval=1)
    text = wait_for_success(job, log)
    assert "(failure 1, at most 3 without a new checkpoint)" in text, "the training lost no rank"
    assert_same_tables(results(store, "disturbed"), results(store, "undisturbed"))
    assert scores(store, "disturbed") == scores(store, "undisturbed")
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the return of both workers", interval=2)


def test_a_sweep_continues_without_a_disconnected_machine_and_after_the_loss_of_the_head(cluster, hosts, store):
    expected = scores(store, "disturbed")
    for key in store.list_objects("disturbed/"):
        if key.startswith(("disturbed/fusion/", "disturbed/predictions/", "disturbed/runs/")):
            store.client.delete_object(Bucket="abaw", Key=key)
    job, log = submit_pipeline(cluster, store, "disturbed")
    wait_until(lambda: trials(store), timeout=TIMEOUT_S, what="a trial", interval=0.1, log=log)
    hosts.disconnect("n3")
    try:
        wait_until(lambda: len(trials(store)) == TRIALS * len(KINDS), timeout=TIMEOUT_S, what="all trials without n3", interval=0.1, log=log)
        hosts.power_off("n1")
        job.terminate()
        job.wait(timeout=TIMEOUT_S)
        assert not has_record(store, "disturbed", "fusion"), "the final models were trained before the head was lost"
    finally:
        hosts.reconnect("n3")
    hosts.boot("n1")
    cluster.up()
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the workers of the new head", interval=2)
    finished = trials(store)  # not earlier: a trial that n3 ran while it was disconnected may write its result, the same one, once it is back
    wait_for_success(*submit_pipeline(cluster, store, "disturbed"))
    assert trials(store).items() >= finished.items(), "a finished trial was run again"
    assert scores(store, "disturbed") == expected
