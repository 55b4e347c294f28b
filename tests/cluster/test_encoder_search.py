"""The search of Stage I's hyperparameters on a local Ray: every trial trains or is read, poor ones are stopped, a larger search goes on."""

import json
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.config import EncoderSearchJob
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.presets import search_presets
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES
from abaw_ray.cluster.stages.stage_one.search import SEARCH_ENCODER, trials_folder
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig

pytestmark = pytest.mark.slow

STAGES = [INGEST_IMAGES, SEARCH_ENCODER]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> EncoderSearchJob:
    root, smoke = tmp_path_factory.mktemp("search"), search_presets()["smoke"][1]
    synthetic = replace(TINY, affectnet_train_images=64, affectnet_val_images=16, rafdb_train_images=32, rafdb_test_images=16)
    return replace(
        smoke,
        data=replace(smoke.data, synthetic_dir=str(root / "data"), synthetic=synthetic),
        storage=StorageConfig(uri=str(root / "runs")),
        compute=ComputeConfig(object_store_mb=80, training=Resources(workers=2)),
        search=replace(smoke.search, trials=4, images=48, epochs=3, grace_epochs=1, reduction=2),
    )


@pytest.fixture(scope="module")
def session(config):
    with RaySession(config.compute) as session:
        yield session


@pytest.fixture(scope="module")
def figures(config, session):
    """Figures of a finished search."""
    return run_job(Run(config, session), STAGES)["encoder_search"].figures


def test_the_best_trial_is_the_best_of_those_that_reached_the_last_epoch(figures):
    curves = [trial["curve"] for trial in figures["trials"]]
    assert len(curves) == 4 and figures["trials"][0]["changes"] == {}
    complete = [trial for trial in figures["trials"] if len(trial["curve"]) == 3]
    assert complete and max(complete, key=lambda trial: trial["curve"][-1]["mean_macro_f1"])["changes"] == figures["changes"]
    assert all([row["epoch"] for row in curve] == list(range(1, len(curve) + 1)) for curve in curves)


def test_poor_trials_are_stopped_early(figures):
    lengths = sorted(len(trial["curve"]) for trial in figures["trials"])
    assert lengths[0] < 3 == lengths[-1]


def test_the_options_of_the_best_trial_are_those_of_the_training_command(figures):
    words = figures["options"].split()
    assert words[::2] == [f"--encoder.{path.replace('_', '-')}" for path in figures["changes"]]
    assert [float(word) for word in words[1::2]] == list(figures["changes"].values())


def test_a_larger_search_reads_the_trials_of_a_smaller_one(config, session, figures):
    larger = replace(config, search=replace(config.search, trials=5))
    run = Run(larger, session)
    (item,) = SEARCH_ENCODER.items(run)
    folder = Path(run.storage.uri(trials_folder(run, item)))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = run_job(run, STAGES)["encoder_search"].figures
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert again["trials"][:4] == json.loads(json.dumps(figures["trials"])) and len(again["trials"]) == 5
    assert len(before) == 4 and len(after) == 5 and before.items() < after.items()


def test_a_search_in_which_every_trial_diverges_says_what_to_change(config, session, figures):
    encoder = replace(config.encoder, optim=replace(config.encoder.optim, lr=1e38))
    diverging = replace(config, encoder=encoder, search=replace(config.search, trials=1))
    with pytest.raises(StageError, match=r"the loss of every trial became infinite; lower encoder\.optim\.lr=1e\+38 and search\.space\.lr="):
        run_job(Run(diverging, session), STAGES)


def test_ctrl_c_ends_a_search_in_which_a_trial_was_complete_without_a_result(config, session, figures, interrupts):
    run = Run(replace(config, search=replace(config.search, trials=4, seed=1, grace_epochs=3)), session)
    (item,) = SEARCH_ENCODER.items(run)
    folder, main = Path(run.storage.uri(trials_folder(run, item))), threading.get_ident()

    def interrupt_after_a_trial():
        while not list(folder.glob("*.json")):
            time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGINT)

    interrupt = threading.Thread(target=interrupt_after_a_trial, daemon=True)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(run, STAGES)
    assert SEARCH_ENCODER.record(run) is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the next one is not kept either"
