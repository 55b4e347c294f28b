"""The page of a video where the video is missing, embedded, oddly named, served by a web server, or long."""

import http.server
import threading
from functools import partial

import numpy as np
import pytest
from analysis_rows import analysis_rows, analysis_table, long_table
from coded_video import TIMES, box_of, frame_of, page_fields, page_of, read_number, timeline_point, write_numbered
from playwright.sync_api import expect

from abaw_ray.media.video import decode
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.analysis_data import ModelInfo, VideoInfo
from abaw_ray.report.video.page import write_video_page

pytestmark = pytest.mark.chromium


def test_a_missing_video_leaves_a_page_that_works(folder, show):
    (folder / "v.mp4").unlink()
    page = show(folder / "index.html", expected=("ERR_FILE_NOT_FOUND",))
    expect(page.locator("#message")).to_contain_text("the file is missing")
    page.mouse.click(*timeline_point(page, 30.5 / 60))
    assert frame_of(page) == 31
    page.keyboard.press("ArrowRight")
    assert frame_of(page) == 32
    assert page.evaluate("layer.canvas.getContext('2d').getImageData(0, 0, layer.canvas.width, layer.canvas.height).data.some((v) => v)"), (
        "boxes are drawn"
    )
    expect(page.locator("#play")).to_be_disabled()


def test_without_a_playable_video_boxes_and_timeline_work(tmp_path, show):
    write_numbered(tmp_path / "v.mp4", TIMES)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", **page_fields() | {"video": None}))
    page = show(tmp_path / "index.html")
    expect(page.locator("#message")).to_contain_text("no video that a browser can play")
    page.keyboard.press("End")
    assert frame_of(page) == 60


def test_an_embedded_video_plays_and_has_its_boxes(folder, show):
    write_video_page(folder, page_of(folder / "v.mp4", **page_fields() | {"video": (folder / "v.mp4").read_bytes()}), name="embedded.html")
    (folder / "v.mp4").unlink()
    page = show(folder / "embedded.html")
    page.wait_for_function("() => clock.reported")
    page.mouse.click(*timeline_point(page, 45.5 / 60))
    assert frame_of(page) == 46
    assert read_number(page) == 46


@pytest.mark.parametrize("name", ["v.mp4", "v.mov", "v.m4v"])
def test_a_page_with_an_embedded_video_plays_alone_in_another_folder(tmp_path, show, name):
    write_numbered(tmp_path / name, TIMES, 0.0)
    times = np.array([frame.time for frame in decode(str(tmp_path / name))])
    table = analysis_table(analysis_rows("A" * len(times), times, box=box_of))
    info = VideoInfo(name=name, uri=str(tmp_path / name), width=320, height=240, frames=len(times), start_s=0.0, duration_s=2.4, end_s=2.4)
    Analysis(table=table, video=info, model=ModelInfo(name="m", identity="i", license="l")).report(tmp_path / "page.html", embed=True)
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (tmp_path / "page.html").rename(alone / "mailed.html")
    (tmp_path / name).unlink()
    page = show(alone / "mailed.html")
    page.wait_for_function("() => clock.reported")
    page.keyboard.press(" ")
    page.wait_for_function("() => clock.shown > 10")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    assert frame_of(page) == read_number(page) > 10
    requests = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name.split(':')[0])")
    assert set(requests) <= {"blob"}


def test_names_with_special_characters_are_found(tmp_path, show):
    name = "take #1, 50% <b>&amp; ä?.mp4"
    write_numbered(tmp_path / name, TIMES)
    write_video_page(tmp_path, page_of(tmp_path / name))
    page = show(tmp_path / "index.html")
    page.wait_for_function("() => clock.reported")
    assert page.text_content("h1") == name == page.title()


def test_the_page_works_from_a_web_server_and_its_policy_forbids_other_requests(folder, show):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = show(f"http://127.0.0.1:{server.server_port}/index.html", expected=("Content Security Policy", "favicon"))
        page.wait_for_function("() => clock.reported")
        refused = page.evaluate("fetch(location.href).then(() => 'loaded', (error) => String(error))")
        server.shutdown()
    assert refused.startswith("TypeError")


def test_54000_frames_of_three_people_open_and_answer_a_click(tmp_path, show):
    rows = analysis_rows("NNNNNHHHHHAAAAA" * 40, np.arange(600) / 30, box=lambda frame: (20, 20, 80, 90))
    table = long_table(analysis_table(rows), 90, ["main", "person-2", "person-3"])
    write_numbered(tmp_path / "v.mp4", TIMES)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", table=table, video=None))
    page = show(tmp_path / "index.html")
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    drawn = page.evaluate("(() => { const start = performance.now(); timeline.draw(); return performance.now() - start; })()")
    click = "(() => { const start = performance.now(); clock.seek(27000); return performance.now() - start; })()"
    print(f"54,000 frames x 3 people: open {opened:.0f} ms, redraw {drawn:.0f} ms, click {page.evaluate(click):.1f} ms")
    page.mouse.click(*timeline_point(page, 45.5 / 60))
    assert int(page.text_content("[data-show=frame]").removeprefix("frame ").replace(",", "")) == pytest.approx(40_951, abs=40)
    page.keyboard.press("3")
    expect(page.locator("[data-select='2']")).to_have_attribute("aria-pressed", "true")
