"""Commands that run stages, as a user starts them: arguments in, lines and exit code out."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cli.jobs import JOBS
from abaw_ray.cluster.launch.ablation.ablate import ablate
from abaw_ray.cluster.launch.pipeline import STAGES
from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def abaw_ray(tmp_path):
    """A function that runs the command in an empty folder; returns its exit code and the lines on stdout and stderr."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ABAW_RAY_CACHE": str(home), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}

    def run(*args: str) -> tuple[int, list[str], list[str]]:
        command = [sys.executable, "-m", "abaw_ray", *args]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """One video and two files that are none."""
    noise = np.random.default_rng(0).integers(0, 255, (10, 64, 96, 3), dtype=np.uint8)
    write_video(tmp_path / "good.mp4", iter(noise), np.arange(10) / 10, None)
    for name in ("bad1.mp4", "bad2.mp4"):
        (tmp_path / name).write_text("not a video")
    return ["good.mp4", "bad1.mp4", "bad2.mp4"]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not str(path.relative_to(folder)).startswith("home")}


def test_every_command_loads_its_stages():
    stages = {name: [stage.name for stage in job.load().keywords["stages"]] for name, job in JOBS.items() if name != "ablation"}
    everything = [stage.name for stage in STAGES]
    single = {"faces": ["faces"], "train": ["images", "encoder"], "search": ["images", "encoder_search"]}
    single |= {"features": ["features"], "sweep": ["annotated_images", "fold_encoders", "fold_features", "fusion"], "predict": ["predictions"]}
    assert stages == single | {"pipeline": everything, "report": everything}
    assert JOBS["ablation"].load() is ablate


def test_too_many_failures_are_exit_code_5_and_say_where_the_good_outputs_are(abaw_ray, clips, tmp_path):
    code, _, errors = abaw_ray("faces", *clips, "-o", "out", "--detector", "haar")
    (store,) = (tmp_path / "out/faces").iterdir()
    assert (code, len(errors)) == (5, 1)
    assert "faces: 2 of 3 items failed" in errors[0]
    assert f"1 good outputs are kept in {store}/outputs, all reasons in {store}/failures" in errors[0]
    assert [path.name[:9] for path in (store / "outputs").iterdir()] == ["good.mp4-"] and len(list((store / "failures").iterdir())) == 2
    code, printed, errors = abaw_ray("faces", *clips, "-o", "out", "--detector", "haar", "--max-failures", "0.9")
    assert (code, errors, printed[-1]) == (0, [], f"faces: {store}")


def test_a_plan_writes_nothing_and_prints_a_problem_once(abaw_ray, clips, tmp_path):
    before = files(tmp_path)
    code, printed, errors = abaw_ray("faces", *clips, "-o", "out", "--plan")
    assert (code, len(errors)) == (2, 1)
    assert errors[0].startswith("error: faces.detector.weights=opencv/face_detection_yunet: ") and "or use --detector haar" in errors[0]
    assert printed[0] == f"plan, results in {tmp_path}/out" and len(printed) == 5
    assert printed[3].startswith("  faces: ") and printed[4].startswith("  these are estimates")
    code, printed, errors = abaw_ray("faces", *clips, "-o", "out", "--plan", "--detector", "haar")
    assert (code, errors, printed[-1]) == (0, [], "no problems; the same command without --plan runs it")
    assert files(tmp_path) == before


def test_the_report_of_a_run_that_was_not_made_names_the_first_missing_command(abaw_ray, tmp_path):
    code, printed, errors = abaw_ray("report", "smoke", "-o", "out")
    assert (code, printed, len(errors)) == (3, [], 1)
    assert "faces is not done with these settings; run abaw-ray faces with the same preset and options first" in errors[0]
    assert files(tmp_path) == {"out"}


def test_a_missing_video_is_one_line(abaw_ray):
    code, printed, errors = abaw_ray("faces", "clip.mp4", "--detector", "haar")
    assert (code, printed, errors[0].partition(":")[2], len(errors)) == (
        3,
        [],
        " clip.mp4: no such file or folder; pass a folder, a pattern, a .txt, .csv or .parquet list, or one video",
        1,
    )
