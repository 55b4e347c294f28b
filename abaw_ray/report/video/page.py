"""Renders one analyzed video as one HTML page: player with boxes, timeline, shares and episodes of each person.

The page is self-contained except for the video, which it loads by a relative path; a content security policy forbids all other requests.
The scripts in ``assets`` draw the boxes, in step with the frame that the browser shows, and the timeline.
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray import __version__
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.video.config import VideoPageConfig
from abaw_ray.report.video.encode import encode_video
from abaw_ray.report.video.inputs import VideoPage, quote_relative
from abaw_ray.report.web.html import BASE_CSS, FORMAT_JS, SERIES_JS, THEME_CSS, content_policy, environment, format_duration, read_inline, write_page
from abaw_ray.scoring.episodes import MIN_EPISODE_S, Episode, PersonSummary, summarize_people

_ASSETS = Path(__file__).parent / "assets" / "page"
_SCRIPTS = ("data.js", "clock.js", "boxes.js", "tracks.js", "timeline.js", "panel.js", "main.js")


def write_video_page(target: Storage | Path, page: VideoPage, *, name: str = "index.html", config: VideoPageConfig | None = None) -> str:
    """Write the page of a video atomically.

    Args:
        target: A storage, or a local folder.
        page: Content of the page; its paths are relative to the page.
        name: Path of the page below the target.
        config: Limits on the content.

    Returns:
        Local path or URI of the page.

    Raises:
        ConfigError: the video to embed is too large.
        DataError: the table lacks rows.
        StorageError: the target cannot be written.
    """
    return write_page(target, name, render_video_page(page, config))


def render_video_page(page: VideoPage, config: VideoPageConfig | None = None) -> str:
    """HTML of the page; the same input gives the same text."""
    config = config or VideoPageConfig()
    data, script = encode_video(page), read_inline(FORMAT_JS, SERIES_JS, *(_ASSETS / name for name in _SCRIPTS))
    summaries = summarize_people(page.table, page.end_s)
    people = [_person(name, summaries[name], config) for name in page.ordered_people()]
    times = page.table["time"].to_numpy()
    start = float(times.min()) if len(times) else 0.0
    templates = environment(_ASSETS)
    templates.filters |= {"clock": format_clock}
    return templates.get_template("video.html").render(
        page=page,
        css=read_inline(BASE_CSS, THEME_CSS, _ASSETS / "video.css"),
        script=script,
        policy=content_policy(script, media_src="blob:" if isinstance(page.video, bytes) else "'self'"),
        data=data,
        source=quote_relative(page.video) if isinstance(page.video, str) else None,
        content=_embed(page.video, config) if isinstance(page.video, bytes) else None,
        csv=page.csv and quote_relative(page.csv),
        index=page.index and quote_relative(page.index),
        facts=_facts(page, start, data["end"]),
        start=start,
        end=data["end"],
        length=format_clock(data["end"]),
        people=people,
        has_gate=any(person["gate"] for person in data["people"]),
        expressions=EXPRESSIONS,
        known={name for person in people for name in person["summary"].seconds},
        colors=COLORS,
    )


def format_clock(seconds: float) -> str:
    """``0:03.42`` or ``1:02:03.42``, as ``formatClock`` in ``data.js``."""
    hundredths = round(max(seconds, 0) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 100:02d}.{rest % 100:02d}"
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def _person(name: str, summary: PersonSummary, config: VideoPageConfig) -> dict[str, Any]:
    listed, total = _longest(summary.episodes, config.max_episodes), len(summary.episodes)
    number = f"{total:,}" if len(listed) == total else f"the {len(listed):,} longest of {total:,}"
    note = f"Consecutive frames with the same expression, of at least {MIN_EPISODE_S:g} s: {number}."
    return {"name": name, "summary": summary, "episodes": listed, "note": note}


def _longest(episodes: list[Episode], count: int) -> list[Episode]:
    """At most this many episodes, the longest ones, of equally long ones the first, in order of time."""
    return sorted(sorted(episodes, key=lambda episode: -round(episode.duration, 6))[:count], key=lambda episode: episode.start)


def _facts(page: VideoPage, start: float, end: float) -> list[str]:
    """The line under the title."""
    frames = len(np.unique(page.table["frame"].to_numpy()))
    people = len(page.ordered_people())
    part = [f"analyzed from {format_clock(start)} to {format_clock(end)}"] if page.is_part and frames else []
    facts = [*part, f"{page.width} × {page.height}", "1 person" if people == 1 else f"{people} people", f"abaw_ray {__version__}"]
    if frames == 1:  # an image has no duration
        facts = ["1 frame", *facts]
    elif frames:
        facts = [format_duration(end - start), f"{frames:,} frames", f"{frames / (end - start):.4g} frames/s", *facts]
    return [fact for fact in facts if fact]


def _embed(content: bytes, config: VideoPageConfig) -> str:
    if len(content) > config.max_embedded_mb * 1e6:
        raise ConfigError(
            f"the video has {len(content) / 1e6:.1f} MB, more than max_embedded_mb={config.max_embedded_mb:g}; give its relative path instead"
        )
    return base64.b64encode(content).decode()
