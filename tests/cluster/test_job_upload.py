"""What ``ray job submit --working-dir .`` uploads: the code, and nothing else that lies in the project's folder."""

import shutil
import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import _zip_files

ROOT = Path(__file__).parents[2]


def test_a_submitted_job_uploads_the_code_and_no_results_videos_or_weights(tmp_path):
    folder = tmp_path / "project"
    uploaded = {"abaw_ray/core/errors.py", "jobs/pipeline.py", "tools/bench/gpu/run.py", "pyproject.toml", "constraints.txt"}
    others = {"out/clip.html", "analysis/index.html", "model/encoder/model.safetensors", "clip.mp4", "yunet.onnx", "runs/demo/report.html"}
    others |= {
        "docs/index.md",
        "tests/test_docs.py",
        "tools/benchmarks/a.json",
        ".venv/bin/python",
        ".git/HEAD",
        "abaw_ray/core/__pycache__/errors.pyc",
    }
    for name in uploaded | others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, folder)
    _zip_files(str(folder), excludes=[], output_path=str(tmp_path / "job.zip"), include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "job.zip") as package:
        assert {name for name in package.namelist() if not name.endswith("/")} == uploaded
