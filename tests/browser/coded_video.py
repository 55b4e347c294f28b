"""Videos that show their frame numbers as black and white blocks, and pages whose boxes have the frame number as position."""

import io
from pathlib import Path

import av
import numpy as np
from analysis_rows import analysis_rows, analysis_table
from PIL import Image
from playwright.sync_api import Page

from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video
from abaw_ray.report.video.inputs import AudioLevel, VideoPage

SIZE = (320, 240)
BITS, STEP, LEFT = 8, 3, 12
"""Blocks of a number; pixels by which the box moves per frame; its position in frame 0."""
ANGER = (192, 57, 43)
TIMES = np.arange(60) / 25
LABELS = "A" * 20 + "." * 10 + "H" * 30


def numbered_image(number: int, width: int, height: int) -> np.ndarray:
    """A gray image whose lowest eighth shows the number, the lowest bit at the left."""
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        image[height * 7 // 8 :, width * (2 * bit + 1) // 18 : width * (2 * bit + 3) // 18] = 235 if number >> bit & 1 else 16
    return image


def box_of(frame: int) -> tuple[float, float, float, float]:
    return LEFT + STEP * frame, 100, LEFT + STEP * frame + 30, 160


def write_numbered(path: Path, times: np.ndarray, audio_start: float | None = None, *, turned: bool = False) -> None:
    """A video with this number of frames; ``turned``: coded sideways, with a rotation flag, so that it is upright only where that is obeyed."""
    width, height = SIZE[::-1] if turned else SIZE
    images = (numbered_image(number, width, height) for number in range(1, len(times) + 1))
    audio = None if audio_start is None else 0.3 * np.sin(np.arange(16_000 * 3) / 8).astype(np.float32)
    if not turned:
        write_video(path, images, times, audio, audio_start=audio_start or 0.0, crf=10)
        return
    sideways = path.with_name(f"sideways-{path.name}")
    write_video(sideways, (np.ascontiguousarray(np.rot90(image, -1)) for image in images), times, audio, crf=10)
    with av.open(str(sideways)) as source, av.open(str(path), "w") as target:
        coded = source.streams.video[0]
        stream = target.add_stream_from_template(coded)
        stream.set_display_rotation(90)  # counter-clockwise, like np.rot90
        for packet in source.demux(coded):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def page_of(path: Path, **fields) -> VideoPage:
    """A page whose box in each frame is at ``box_of`` the frame, with the times that the decoder finds."""
    frames = [(frame.time, frame.width, frame.height) for frame in decode(str(path))]
    rows = analysis_rows("A" * len(frames), [time for time, _, _ in frames], box=box_of)
    return VideoPage(
        **({"title": path.name, "table": analysis_table(rows), "width": frames[0][1], "height": frames[0][2], "video": path.name} | fields)
    )


def page_fields() -> dict:
    """Fields of a page with two people, audio level and a part without a score, for a video of ``TIMES``."""
    rows = analysis_rows(LABELS, TIMES, box=box_of)
    other = analysis_rows("S" * 30, TIMES, "person-2", first=21, box=lambda frame: (200, 20, 260, 80), confidence=0.9)
    level = AudioLevel(time=np.arange(24) / 10, level=np.linspace(-50, -10, 24))
    return {"table": analysis_table(rows, other), "audio": level, "notes": ["Trained on drawn faces."], "csv": "v.csv", "index": "list.html"}


def screenshot(page: Page, selector: str) -> np.ndarray:
    """Pixels of an element, as shown."""
    return np.array(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")).astype(int)


def timeline_point(page: Page, share: float, gutter: int = 88) -> tuple[float, float]:
    """Coordinates of a place in the timeline, as a share of the visible time; scrolls it into view."""
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot").bounding_box()
    return box["x"] + gutter + share * (box["width"] - gutter), box["y"] + 100


def frame_of(page: Page) -> int:
    """Frame number in the controls, after the browser has finished seeking."""
    page.wait_for_function("() => clock.target === null && !(clock.video && clock.video.seeking)")
    return int(page.text_content("[data-show=frame]").removeprefix("frame "))


def plot_pixel(page: Page, share: float, track: int) -> list[int]:
    """Color of the timeline at a share of the visible time, in the middle of a track."""
    script = """(track) => {
      const tracks = tracksOf(person, data), free = timeline.plot.clientHeight - AXIS_HEIGHT - TRACK_GAP * tracks.length;
      const fixed = tracks.reduce((sum, one) => sum + one.share, 0), heights = tracks.map((one) => Math.round(free * (one.share || 1 - fixed)));
      return heights.slice(0, track).reduce((a, b) => a + b + TRACK_GAP, 0) + heights[track] / 2;
    }"""
    image = screenshot(page, "#plot")
    return image[int(page.evaluate(script, track)), int(88 + share * (image.shape[1] - 88))].tolist()


def read_number(page: Page) -> int:
    """Frame number that the picture on screen shows."""
    return _number(screenshot(page, "#stage"))


def read_screen(page: Page) -> tuple[int, float]:
    """``read_number``, and the frame number at whose position the box of an angry person is drawn (not rounded), in the same picture."""
    image, (width, height) = screenshot(page, "#stage"), page.evaluate("[data.width, data.height]")
    edge = np.flatnonzero(np.abs(image[round(130 / height * len(image))] - ANGER).max(axis=1) < 30)
    assert len(edge), "no box on the screen"
    line = edge[edge < edge[0] + 8].mean() + 0.5  # center of the left line
    return _number(image), float((line / image.shape[1] * width - LEFT) / STEP)


def settle(page: Page, paint_ms: float = 80) -> None:
    """Wait until the browser has finished seeking and the page has checked the frame, and then for the frame to be painted."""
    page.wait_for_function("() => clock.reported && clock.target === null && !clock.video.seeking && clock.video.readyState >= 2")
    page.wait_for_timeout(paint_ms)


def read_settled(page: Page, seconds: float = 2.0) -> tuple[int, float]:
    """As ``read_screen``, once both agree: after two seeks in a row the browser reports the new frame some tenths of a second before it paints it."""
    for _ in range(int(seconds / 0.05)):
        number, box = read_screen(page)
        if abs(number - box) <= 0.4:
            break
        page.wait_for_timeout(50)
    return number, box


def _number(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    return int(sum((image[height * 15 // 16, round(width * (2 * bit + 2) / 18)].mean() > 120) << bit for bit in range(BITS)))
