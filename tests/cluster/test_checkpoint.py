"""Checkpoints in storage: local copies, and errors of incomplete ones."""

import errno
import json
import pickle
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.cluster.stages.stage_one.training_reports import TrainingReports
from abaw_ray.cluster.training.checkpoints.checkpoint import delete_local_copy, fetch, write
from abaw_ray.cluster.training.checkpoints.file_list import CheckpointError, read_key
from abaw_ray.cluster.training.checkpoints.meta import CheckpointMeta
from abaw_ray.cluster.training.checkpoints.resume import fetch_intact
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import node_cache_folder


class SmallEngine:
    """An engine whose shard unpickles to a value of the test."""

    def __init__(self, rank, value="shard"):
        self.rank, self.value = rank, value

    def save(self, folder, state):
        (folder / "state").mkdir(parents=True)
        (folder / "state" / f"rank{self.rank}.pt").write_bytes(pickle.dumps(self.value))
        if self.rank == 0:
            (folder / "state" / "model.pt").write_bytes(b"model")


def write_checkpoint(storage, path, *, key=b"", value="shard", meta=CheckpointMeta(world_size=2)):  # noqa: B008 - frozen
    """Write a checkpoint of two ranks."""
    for rank in range(2):
        folder = write(SmallEngine(rank, value), {}, meta, rank=rank, key=key)
        upload_folder(folder, storage, path)
        shutil.rmtree(folder)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def stored(tmp_path):
    """Storage with a checkpoint of two ranks, as both upload it."""
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    write_checkpoint(storage, "run/c1")
    yield storage
    delete_local_copy(storage, "run/c1", world_size=2)
    delete_local_copy(storage, "run/c1", world_size=4)


def test_a_complete_checkpoint_is_downloaded_once_per_node_until_its_copy_is_deleted(stored):
    folder, universal = fetch(stored, "run/c1", world_size=2, convert=True)
    assert not universal
    assert sorted(path.name for path in (folder / "state").iterdir()) == ["model.pt", "rank0.pt", "rank1.pt"]
    (folder / "state" / "mark").touch()
    assert fetch(stored, "run/c1", world_size=2, convert=True) == (folder, False)
    assert (folder / "state" / "mark").exists()
    delete_local_copy(stored, "run/c1", world_size=2)
    assert not folder.exists()


def test_stage_zero_needs_no_conversion_for_another_number_of_ranks(stored):
    assert not fetch(stored, "run/c1", world_size=4, convert=False)[1]


@pytest.mark.parametrize(
    ("lost", "message"),
    [("files-1.json", "rank 1 of 2 are missing"), ("zero/state/rank1.pt", "rank1.pt: has 0 of 20 bytes"), ("meta.json", "meta.json: is missing")],
)
def test_a_checkpoint_with_a_missing_file_is_refused_by_name(stored, lost, message):
    stored.delete(f"run/c1/{lost}")
    with pytest.raises(CheckpointError, match=message):
        fetch(stored, "run/c1", world_size=2, convert=True)


def test_a_checkpoint_whose_metadata_an_earlier_version_wrote_is_downloaded(tmp_path):
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    meta = SimpleNamespace(world_size=2, to_json=lambda: '{"world_size": 2}')
    write_checkpoint(storage, "run/c1", meta=meta)
    try:
        folder, universal = fetch(storage, "run/c1", world_size=2, convert=True)
        assert (folder / "state" / "rank1.pt").exists() and not universal
    finally:
        delete_local_copy(storage, "run/c1", world_size=2)


def test_a_truncated_file_is_refused_by_name(stored):
    stored.write_bytes("run/c1/zero/state/model.pt", b"mod")
    with pytest.raises(CheckpointError, match=r"model.pt: has 3 of 5 bytes"):
        fetch(stored, "run/c1", world_size=2, convert=True)
    assert not list(node_cache_folder().glob(f"checkpoint-{digest([stored.uri('run/c1'), 2])}*/"))


class FailingEngine:
    """An engine whose save raises after half of a file."""

    def __init__(self, error):
        self.error = error

    def save(self, folder, state):
        folder.mkdir()
        (folder / "shard.pt").write_bytes(b"half of it")
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_checkpoint_leaves_nothing_on_the_disk(tmp_path, monkeypatch, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(type(error)):
        write(FailingEngine(error), {}, CheckpointMeta(world_size=2), rank=0)
    assert not list(tmp_path.iterdir())


KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SHARD = "zero/state/rank1.pt"


def load_all(storage, path="run/c1", *, key=b""):
    """Fetch a checkpoint and unpickle its shards, as DeepSpeed does; returns them."""
    folder, _ = fetch(storage, path, world_size=2, convert=True, key=key)
    return [pickle.loads((folder / "state" / f"rank{rank}.pt").read_bytes()) for rank in range(2)]


def test_an_intact_checkpoint_is_loaded(stored):
    assert load_all(stored) == ["shard", "shard"]


def test_a_changed_file_of_the_same_size_is_refused_before_it_is_unpickled(stored, tmp_path):
    write_checkpoint(stored, "run/c1", value=Touch(tmp_path / "expected"))
    attack = pickle.dumps(Touch(tmp_path / "attacked"))
    assert len(attack) == stored.files("run/c1", recursive=True)[SHARD]
    stored.write_bytes(f"run/c1/{SHARD}", attack)
    with pytest.raises(CheckpointError, match=r"rank1\.pt: is not the file that was written: SHA-256 \w{12}, not \w{12}$"):
        load_all(stored)
    assert not (tmp_path / "attacked").exists()
    pickle.loads(attack)
    assert (tmp_path / "attacked").exists()


@pytest.mark.parametrize("options", [{}, {"key": OTHER_KEY}])
def test_with_a_key_files_whose_list_was_replaced_too_are_refused_before_they_are_unpickled(stored, tmp_path, options):
    write_checkpoint(stored, "run/c1", key=KEY)
    assert load_all(stored, key=KEY) == ["shard", "shard"]
    delete_local_copy(stored, "run/c1", world_size=2)
    write_checkpoint(stored, "run/c1", value=Touch(tmp_path / "unpickled"), **options)
    with pytest.raises(CheckpointError, match=r"files-0\.json: is not signed with the key of compute\.recovery\.checkpoint_key_file"):
        load_all(stored, key=KEY)
    assert not (tmp_path / "unpickled").exists()


def test_the_list_of_another_rank_is_refused(stored):
    stored.write_bytes("run/c1/files-1.json", stored.read_bytes("run/c1/files-0.json"))
    with pytest.raises(CheckpointError, match=r"files-1\.json: is not the list of rank 1 of 2"):
        fetch(stored, "run/c1", world_size=2, convert=True)


def test_a_list_without_digests_is_refused(stored):
    stored.write_bytes("run/c1/files-1.json", json.dumps({SHARD: 20}).encode())
    with pytest.raises(CheckpointError, match=r"files-1\.json: is not a list of files with digests"):
        fetch(stored, "run/c1", world_size=2, convert=True)


@pytest.fixture
def run(stored):
    """A run with three checkpoints, whose copies on this node are deleted after the test."""
    names = [f"checkpoint_2026-11-29_0{hour}-00-00.000000" for hour in range(3)]
    for name in names:
        write_checkpoint(stored, f"run/{name}")
    stored.write_bytes("run/best/3/model.safetensors", b"weights")
    yield (
        RankJob(storage=stored, stage="encoder", run_id="test", output="out", run="run", shards=(), config=EncoderConfig(), compute=ComputeConfig()),
        names,
    )
    for name in names:
        delete_local_copy(stored, f"run/{name}", world_size=2)


def test_a_training_resumes_from_the_last_intact_checkpoint_and_says_why(run):
    job, names = run
    assert fetch_intact(job, names[2], world_size=2)[::3] == (f"run/{names[2]}", "")
    delete_local_copy(job.storage, f"run/{names[2]}", world_size=2)
    job.storage.write_bytes(f"run/{names[2]}/{SHARD}", b"?" * 20)
    found = fetch_intact(job, names[2], world_size=2)
    assert found.path == f"run/{names[1]}" and found.folder.exists()
    assert f"{names[2]}/{SHARD}: is not the file that was written" in found.skipped
    assert found.skipped.endswith(f"continues from {names[1]} instead")


def test_a_skipped_checkpoint_is_printed_with_the_next_report(capsys):
    report = {"step": 3, "total_steps": 9, "preempted_nodes": 0, "skipped": "c2: is damaged; continues from c1 instead"}
    TrainingReports("cv-1", RunEvents())(report)
    assert capsys.readouterr().out.splitlines()[0] == "  cv-1: c2: is damaged; continues from c1 instead"


def test_checkpoints_that_are_newer_than_the_last_reported_one_are_not_used(run):
    job, names = run
    assert fetch_intact(job, names[0], world_size=2).path == f"run/{names[0]}"


def test_where_no_checkpoint_is_intact_the_error_names_the_folder_to_delete(run):
    job, names = run
    with pytest.raises(CheckpointError, match=rf"{names[2]}/files-0\.json: is not signed .* delete .*/run to train from the start"):
        fetch_intact(replace(job, checkpoint_key=KEY), names[2], world_size=2)


def test_an_error_of_one_rank_makes_all_ranks_use_the_one_before(run):
    job, names = run
    ranks = iter([CheckpointError("rank 1: damaged")])

    def on_all_ranks(call):
        result = call()
        for error in ranks:
            raise error
        return result

    assert fetch_intact(job, names[2], world_size=2, on_all_ranks=on_all_ranks).path == f"run/{names[1]}"


def test_a_key_is_read_from_its_file(tmp_path):
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert read_key(str(tmp_path / "key")) == KEY and read_key("") == b""


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"short", "has 5 bytes, needs 16 or more")])
def test_an_unusable_key_is_refused_with_what_to_do(tmp_path, content, message):
    if content:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"checkpoint_key_file=.*key: {message}.*openssl rand -hex 32"):
        read_key(str(tmp_path / "key"))
