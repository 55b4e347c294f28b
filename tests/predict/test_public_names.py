import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import abaw_ray as ar
from abaw_ray.core.errors import ConfigError

PUBLIC = {
    "AbawError",
    "Analysis",
    "AnalysisConfig",
    "Analyzer",
    "BatchAnalyzer",
    "DetectorChoice",
    "DeviceConfig",
    "EXPRESSIONS",
    "StorageConfig",
    "analyze",
    "list_episodes",
    "read_analysis",
    "summarize",
}


def test_these_are_the_public_names_and_each_has_a_docstring():
    assert set(ar.__all__) == PUBLIC == {name for name in dir(ar) if not name.startswith("_")}
    for name in PUBLIC - {"EXPRESSIONS"}:
        assert getattr(ar, name).__doc__


def test_an_unknown_name_is_refused_with_the_public_ones():
    with pytest.raises(AttributeError, match="no attribute 'analyse'; its public names are AbawError, .*analyze"):
        ar.analyse  # noqa: B018


def test_importing_the_package_imports_no_library():
    code = "import sys, abaw_ray; print(sorted({'torch', 'ray', 'numpy', 'pyarrow', 'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.slow
def test_one_clip_is_analyzed_by_one_call_and_written_in_every_form(bundle, clip, tmp_path):
    result = ar.analyze(clip, model=str(bundle))
    assert isinstance(result, ar.Analysis)
    assert len(result.to_pandas()) == len(result.table)
    assert pq.read_table(result.to_parquet(tmp_path / "clip.parquet")).num_rows == len(result.table)
    page = result.report(tmp_path / "clip.html")
    assert "<video" in page.read_text()
    overlay = result.overlay(tmp_path / "clip.mp4")
    assert overlay.stat().st_size > 10_000
    for write, name in ((result.report, "page.htm"), (result.overlay, "clip.avi")):
        with pytest.raises(ConfigError, match=f"{name}: .* ends in"):
            write(tmp_path / name)


@pytest.mark.slow
def test_batches_of_paths_give_rows_and_reasons(bundle, clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    batches = ar.BatchAnalyzer(str(bundle))
    rows = batches({"path": [str(clip), str(tmp_path / "text.mp4")]}).to_pandas()
    failed = rows[rows["frame"] == 0]
    assert len(failed) == 1
    assert failed["source"].item().startswith("failed: ")
    assert rows["scored"].sum() == len(rows) - 1
    batches.analyzer.close()


@pytest.mark.slow
def test_the_python_example_of_the_documentation_runs(bundle, clip, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/analyze.md").read_text()
    example = re.search(r"## Python\n\n```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "runs/demo").mkdir(parents=True)
    (tmp_path / "runs/demo/model").symlink_to(bundle)
    (tmp_path / "clip.mp4").symlink_to(clip)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/analyze.md", "exec"), {})
    assert "dominant" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("clip.*")} >= {"clip.csv", "clip.html"}
