"""The two operators of the analysis while one of them is stopped or killed, with one CPU, and after the whole job was killed."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import held_analysis
import pandas as pd
import psutil
import pytest
from held_analysis import ray_with_a_gpu, run_chain
from ray import cloudpickle
from timeouts import TIMEOUT_S

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.media.write import write_video

pytestmark = [pytest.mark.faults, pytest.mark.slow]
cloudpickle.register_pickle_by_value(held_analysis)  # workers cannot import a test module
ROOT = Path(__file__).parents[3]
NAMES = [f"{number}.mp4" for number in range(6)]
BOUND = 2
"""Two videos for the one encoder."""
"""Seconds after which a wait counts as a defect. On two slow cores with other tests beside, the operators start after up to 170 s."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Copies of two generated videos."""
    folder = tmp_path_factory.mktemp("videos")
    config = SyntheticConfig(train_subjects=6, val_subjects=3, test_subjects=1, video_duration_s=2.4, segment_duration_s=(0.4, 0.9))
    for name, script in zip(NAMES[:2], make_script(config), strict=False):
        scene = Scene(config, script)
        samples, start = scene.audio()
        write_video(folder / name, scene.frames(), scene.times, samples, audio_start=start, preset="veryfast")
    for number, name in enumerate(NAMES[2:]):
        shutil.copyfile(folder / NAMES[number % 2], folder / name)
    return folder


@pytest.fixture(scope="module")
def session():
    with ray_with_a_gpu(cpus=2) as session:
        yield session


@pytest.fixture(scope="module")
def undisturbed(session, model, videos, tmp_path_factory):
    """The tables of a run in which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_chain(session, folder, model, videos)
    return tables(folder)


class Disturbed:
    """A run in ``folder``: acts in a thread at the points where its operators are held, and counts the folders of chips."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.most, self._ended = folder, 0, threading.Event()

    def hold(self, name: str, *, after: int = 0) -> None:
        """The operator waits when it has processed some videos."""
        (self.folder / f"{name}.hold").write_text(str(after))

    def release(self, name: str) -> None:
        (self.folder / f"{name}.hold").unlink()

    def begun(self, name: str) -> list[str]:
        """Videos that the operator has begun, repetitions included."""
        log = self.folder / f"{name}.log"
        return log.read_text().split() if log.exists() else []

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(int((self.folder / f"{name}.pid").read_text()))

    @property
    def chips(self) -> list[Path]:
        try:
            return list(self.folder.glob("out/.cache/analysis/*/chips/*"))
        except FileNotFoundError:  # a folder was deleted between two steps of the search
            return []

    def run(self, act, run) -> None:
        """Call ``run`` while ``act`` runs in a thread, whose error is raised."""
        errors = []

        def acting():
            try:
                act()
            except BaseException as error:
                errors.append(error)
                for hold in self.folder.glob("*.hold"):
                    hold.unlink()

        threads = [threading.Thread(target=acting, daemon=True), threading.Thread(target=self._watch, daemon=True)]
        for thread in threads:
            thread.start()
        try:
            run()
        finally:
            self._ended.set()
        threads[0].join(TIMEOUT_S)
        if errors:
            raise errors[0]

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, len(self.chips))


def until(condition) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.name: pd.read_csv(path) for path in folder.glob("out/?.csv")}


def check(disturbed: Disturbed, undisturbed: dict[str, pd.DataFrame]) -> None:
    """All tables as undisturbed, no failure, no chips, and never more chips than allowed."""
    found = tables(disturbed.folder)
    assert found.keys() == undisturbed.keys() and len(found) == len(NAMES)
    for name, table in undisturbed.items():
        pd.testing.assert_frame_equal(found[name], table)
    assert not list(disturbed.folder.glob("out/.cache/analysis/*/failures/*"))
    assert not disturbed.chips
    assert 0 < disturbed.most <= BOUND


@pytest.fixture
def disturbed(tmp_path):
    return Disturbed(tmp_path)


def test_a_stopped_encoder_stops_the_finder_and_bounds_the_chips(session, model, videos, undisturbed, disturbed):
    found = []

    def act():
        until(lambda: disturbed.begun("score"))
        encoder = disturbed.process("score")
        encoder.suspend()
        disturbed.release("score")
        until(lambda: len(disturbed.chips) == BOUND and len(disturbed.begun("find")) == BOUND + 1)
        for _ in range(2):
            time.sleep(1)
            found.append(disturbed.begun("find"))
        encoder.resume()

    disturbed.hold("score")
    disturbed.run(act, lambda: run_chain(session, disturbed.folder, model, videos))
    check(disturbed, undisturbed)
    assert found[0] == found[1] and len(found[0]) == BOUND + 1, "beyond the bound, the finder holds one video in its own folder"


def run_with_a_kill(operator, disturbed, session, model, videos):
    """Run the chain, and kill the worker of an operator while it holds its first video."""

    def act():
        until(lambda: disturbed.begun(operator))
        disturbed.process(operator).kill()
        disturbed.release(operator)

    disturbed.hold(operator)
    disturbed.run(act, lambda: run_chain(session, disturbed.folder, model, videos))


def test_a_killed_encoder_scores_its_video_again_from_the_same_chips(session, model, videos, undisturbed, disturbed):
    run_with_a_kill("score", disturbed, session, model, videos)
    check(disturbed, undisturbed)
    assert sorted(disturbed.begun("find")) == NAMES
    assert len(disturbed.begun("score")) == len(NAMES) + 1


def test_a_killed_finder_finds_the_faces_of_its_video_again(session, model, videos, undisturbed, disturbed):
    run_with_a_kill("find", disturbed, session, model, videos)
    check(disturbed, undisturbed)
    assert len(disturbed.begun("find")) == len(NAMES) + 1


def test_chips_that_disappear_are_made_again(session, model, videos, undisturbed, disturbed, capsys):
    def act():
        until(lambda: disturbed.begun("score") and len(disturbed.chips) == BOUND)
        scored = disturbed.begun("score")[0]
        shutil.rmtree(next(path for path in disturbed.chips if not path.name.startswith(scored)))
        disturbed.release("score")

    disturbed.hold("score")
    disturbed.run(act, lambda: run_chain(session, disturbed.folder, model, videos))
    check(disturbed, undisturbed)
    assert "are gone; they are made again" in capsys.readouterr().out
    assert len(disturbed.begun("find")) == len(NAMES) + 1


def driver(cpus: int, *paths: Path) -> subprocess.Popen:
    """A process that analyzes the videos on a Ray of its own."""
    command = [sys.executable, "tests/cluster/faults/held_analysis.py", str(cpus), *map(str, paths)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_killed_job_is_finished_by_the_next_one_without_its_finished_videos(session, model, videos, undisturbed, disturbed):
    disturbed.hold("score", after=2)
    with driver(2, disturbed.folder, model, videos) as job:
        until(lambda: len(disturbed.begun("score")) == 3 and len(disturbed.chips) == BOUND)
        workers = [disturbed.process(name) for name in ("find", "score")]
        job.kill()
    assert not psutil.wait_procs(workers, timeout=TIMEOUT_S)[1], "a worker outlived its job"
    done = disturbed.begun("score")[:2]
    assert len(disturbed.chips) == BOUND, "what the killed job left"
    disturbed.release("score")
    for name in ("find", "score"):
        (disturbed.folder / f"{name}.log").unlink()
    disturbed.run(lambda: None, lambda: run_chain(session, disturbed.folder, model, videos))
    check(disturbed, undisturbed)
    for name in ("find", "score"):
        assert sorted([*disturbed.begun(name), *done]) == NAMES


def test_one_cpu_runs_both_operators(model, videos, undisturbed, disturbed):
    def run():
        with driver(1, disturbed.folder, model, videos) as job:
            output, _ = job.communicate(timeout=TIMEOUT_S)
        assert job.returncode == 0, output.decode()[-2000:]

    disturbed.run(lambda: None, run)
    check(disturbed, undisturbed)
