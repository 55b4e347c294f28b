"""The synthetic data set is written to the storage of the results: completely, once, and never over another one."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.config import DataRunConfig
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages import synthetic
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.config import DataConfig
from abaw_ray.media.write import write_video


def test_a_relative_folder_is_below_the_object_store_of_the_results(tmp_path):
    here, there = Storage(StorageConfig(uri=str(tmp_path))), Storage(StorageConfig(uri="s3://bucket/runs"))
    assert synthetic.location("runs/data", here) == "runs/data"
    assert synthetic.location("runs/data", there) == "s3://bucket/runs/data"
    assert synthetic.location("s3://bucket/data", here) == synthetic.location("s3://bucket/data", there) == "s3://bucket/data"


def test_a_store_has_the_same_files_as_a_folder_and_is_generated_once(object_store, tmp_path, monkeypatch):
    object_store.create_bucket(Bucket="bucket")
    storage = Storage(StorageConfig(uri="s3://bucket/runs"))
    place = synthetic.location("runs/data", storage)
    assert not synthetic.is_generated(place, storage)
    synthetic.generate(str(tmp_path), TINY, storage)
    synthetic.generate(place, TINY, storage)
    assert synthetic.is_generated(place, storage)
    here = {path.relative_to(tmp_path).as_posix(): path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert storage.files("data", recursive=True) == dict(sorted(here.items()))
    names = [row["video"] for row in AffWild2(f"{place}/affwild2", storage=storage.config).videos()]
    assert names == [row["video"] for row in AffWild2(tmp_path / "affwild2").videos()]
    monkeypatch.setattr(synthetic, "write_synthetic", lambda *_, **__: pytest.fail("generated twice"))
    synthetic.generate(place, TINY, storage)
    with pytest.raises(ConfigError, match="s3://bucket/runs/data: holds a synthetic data set of other settings"):
        synthetic.generate(place, replace(TINY, seed=1), storage)


def test_given_videos_need_no_synthetic_ones(tmp_path):
    (tmp_path / "own").mkdir()
    write_video(tmp_path / "own" / "v.mp4", np.zeros((3, 96, 96, 3), np.uint8), np.arange(3) / 10, None)
    data = DataConfig(use_synthetic=True, synthetic_dir=str(tmp_path / "synthetic"), videos=(str(tmp_path / "own"),))
    run = Run(DataRunConfig(storage=StorageConfig(uri=str(tmp_path / "runs")), data=data), RaySession(ComputeConfig()))
    assert [item.name for item in videos(run)] == ["v.mp4"]
    assert not (tmp_path / "synthetic").exists()
