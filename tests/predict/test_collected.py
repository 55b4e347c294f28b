"""The files about all videos are made from what was kept of the analyses: only new, changed and removed ones are read or written again."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from analysis_rows import analysis_rows, analysis_table
from tiny_bundle import METADATA

from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.analysis_data import AnalysisData, ModelInfo, VideoInfo, read_as
from abaw_ray.predict.config import OutputConfig, cache_config
from abaw_ray.predict.output.collection import Collection, write_collection
from abaw_ray.predict.output.files import OutputWriter

MODEL = ModelInfo(name="m", identity="0", license="MIT")
SUMMARIES = ("summary.csv", "episodes.csv", "failures.csv", "index.html")


class Folder:
    """An output folder with stored analyses; ``read`` lists those that a command read."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output = Storage(StorageConfig(uri=str(path)))
        self.stored = Storage(cache_config(self.output.config))
        self.read, self.analyses, self.failures = [], {}, {}
        copy = Storage.local_copy

        def recorded(storage, name):
            self.read.append(Path(name).stem)
            return copy(storage, name)

        monkeypatch.setattr(Storage, "local_copy", recorded)

    def add(self, name, labels="NNHH", *, notes=()):
        """Store an analysis of two people."""
        rows = [analysis_rows(labels, [0.1 * frame for frame in range(len(labels))], person) for person in ("main", "person 2")]
        info = VideoInfo(name=name, uri=f"/videos/{name}", width=160, height=120, frames=len(labels), start_s=0.0, duration_s=0.4, end_s=0.4)
        table = analysis_table(*[[row | {"video": name} for row in of_person] for of_person in rows])
        data = AnalysisData(table=table, video=info, model=MODEL, thumbnail=b"jpeg" + name.encode(), notes=notes)
        self.analyses[name] = f"analysis/a/outputs/{name}.parquet"
        self.stored.put_file(data.to_parquet(Path(self.output.uri()).parent / "local.parquet"), self.analyses[name])

    def write(self, **config):
        """Write all files; returns the result."""
        videos = [{"video": name, "uri": f"/videos/{name}", "output": name} for name in sorted(self.analyses)]
        collection = Collection(
            videos=videos, analyses=self.analyses, failures=self.failures, metadata=METADATA, settings={}, outputs=replace(OutputConfig(), **config)
        )
        self.read.clear()
        writer = OutputWriter(self.output, collection.outputs, ChildLimits())
        try:
            return write_collection(collection, self.stored, self.output, writer)
        finally:
            writer.close()

    def texts(self):
        return {name: self.output.read_bytes(name) for name in SUMMARIES}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = Folder(tmp_path / "out", monkeypatch)
    for name in ("a", "b", "c"):
        folder.add(name, notes=(f"a note on {name}",))
    folder.first = folder.write()
    assert sorted(folder.read) == ["a", "b", "c"]
    return folder


def test_the_same_again_reads_no_analysis_and_writes_the_same(folder):
    texts = folder.texts()
    assert folder.write() == folder.first
    assert folder.read == [] and folder.texts() == texts
    assert [video.notes for video in folder.first.videos] == [(f"a note on {name}",) for name in "abc"]


def test_a_video_that_is_added_is_read_alone_and_stands_in_its_place(folder):
    folder.add("aa", labels="AAAA")
    result = folder.write()
    assert folder.read == ["aa"]
    assert [video.video for video in result.videos] == ["a", "aa", "b", "c"]
    rows = list(csv.DictReader(folder.texts()["summary.csv"].decode().splitlines()))
    assert [(row["video"], row["person"]) for row in rows] == [(name, person) for name in ("a", "aa", "b", "c") for person in ("main", "person 2")]
    assert folder.output.is_file("aa.csv") and folder.output.is_file("aa.html")


def test_a_changed_analysis_a_removed_file_and_other_settings_are_read_again(folder):
    folder.add("b", labels="AAAAAA")
    assert [person["frames"] for person in folder.write().videos[1].people] == [6, 6] and folder.read == ["b"]
    folder.output.delete("c.csv")
    folder.write()
    assert folder.read == ["c"] and folder.output.is_file("c.csv")
    folder.write(format="csv,parquet")
    assert sorted(folder.read) == ["a", "b", "c"] and folder.output.is_file("a.parquet")


def test_files_that_another_command_has_replaced_are_written_again(folder):
    writer = OutputWriter(folder.output, OutputConfig(embed=True), ChildLimits())
    with folder.stored.local_copy(folder.analyses["a"]) as path:
        writer(read_as(AnalysisData, path), "a", folder.analyses["a"], {})
    writer.close()
    folder.write()
    assert folder.read == ["a"]


def test_a_removed_video_leaves_all_files_and_a_failure_is_shown(folder):
    del folder.analyses["b"]
    folder.failures["c"] = {"reason": "damaged", "last_frame": 3}
    result = folder.write()
    assert folder.read == [] and [video.failure for video in result.videos] == [None, "damaged"]
    assert {row["video"] for row in csv.DictReader(folder.texts()["summary.csv"].decode().splitlines())} == {"a", "c"}


def test_files_of_two_commands_at_the_same_time_are_not_used_together(folder):
    kept = folder.output.read_bytes(".cache/collection/summary.parquet")
    folder.add("b", labels="AAAAAA")
    folder.write()
    folder.output.write_bytes(".cache/collection/summary.parquet", kept)
    assert [person["frames"] for person in folder.write().videos[1].people] == [6, 6] and sorted(folder.read) == ["a", "b", "c"]


@pytest.mark.parametrize("damage", [b"no table", None])
def test_what_was_kept_is_made_again_where_it_is_damaged_or_missing(folder, damage):
    path = ".cache/collection/summary.parquet"
    folder.output.delete(path)
    if damage:
        folder.output.write_bytes(path, damage)
    assert folder.write() == folder.first and sorted(folder.read) == ["a", "b", "c"]
    assert folder.write() == folder.first and folder.read == []
