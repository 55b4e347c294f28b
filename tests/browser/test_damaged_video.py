"""A video that is damaged in its middle: Chromium stops for good before the damage, so the page of its analysis gets a copy of the good part."""

from contextlib import suppress
from pathlib import Path

import pytest
from analysis_rows import analysis_rows, analysis_table
from coded_video import TIMES, box_of, frame_of, read_number, timeline_point, write_numbered
from damaged_packets import damage_packets
from playwright.sync_api import expect

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.media.video import decode
from abaw_ray.predict.analysis_data import AnalysisData, ModelInfo, VideoInfo
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.files import OutputWriter

pytestmark = pytest.mark.chromium


def write_page(folder: Path, found_damage: str) -> int:
    """The page of ``v.mp4`` as the command writes it; returns the number of good frames."""
    times = []
    with suppress(ItemError):
        times.extend(frame.time for frame in decode(str(folder / "v.mp4")))
    table = analysis_table(analysis_rows("A" * len(times), times, box=box_of))
    uri, count = str(folder / "v.mp4"), len(times)
    info = VideoInfo(name="v.mp4", uri=uri, width=320, height=240, frames=count, start_s=0.0, duration_s=count / 25, damage=found_damage)
    analysis = AnalysisData(table=table, model=ModelInfo(name="m", identity="0", license="MIT"), video=info)
    writer = OutputWriter(Storage(StorageConfig(uri=str(folder))), OutputConfig(), ChildLimits())
    writer.write_page(analysis, "index")
    writer.close()
    return len(times)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_the_original_stops_for_good_and_the_page_says_where(tmp_path, show, kind):
    write_numbered(tmp_path / "v.mp4", TIMES, 0.0)
    damage_packets(tmp_path / "v.mp4", kind, 1.2, 1.5)
    write_page(tmp_path, "")
    page = show(tmp_path / "index.html")
    page.wait_for_function("() => clock.reported")
    page.evaluate("video.play().catch(() => {})")
    expect(page.locator("#message")).to_contain_text("the file is damaged there", timeout=10_000)
    expect(page.locator("#play")).to_be_disabled()
    assert 0.5 < page.evaluate("clock.data.times[clock.shown]") < 1.3
    page.mouse.click(*timeline_point(page, 0.1))
    assert frame_of(page) > 1, "boxes and timeline still work"


@pytest.mark.parametrize(("kind", "frames"), [("video", range(20, 33)), ("audio", [60])])
def test_where_the_analysis_found_the_damage_the_page_plays_all_good_frames_of_a_copy(tmp_path, show, kind, frames):
    write_numbered(tmp_path / "v.mp4", TIMES, 0.0)
    damage_packets(tmp_path / "v.mp4", kind, 1.2, 1.5)
    good = write_page(tmp_path, "decoding stopped")
    assert good in frames
    page = show(tmp_path / "index.html")
    page.wait_for_function("() => clock.reported")
    assert page.evaluate("video.getAttribute('src')") == "index.proxy.mp4"
    page.evaluate("video.play()")
    page.wait_for_function("() => video.ended", timeout=10_000)
    assert page.evaluate("video.error") is None
    page.keyboard.press("End")
    assert frame_of(page) == good
    assert read_number(page) == good
