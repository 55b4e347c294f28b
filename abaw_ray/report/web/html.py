"""What the pages of this package share: template environment, number formats, content security policy, and writing.

The style sheets and scripts in this folder are included by several pages.
"""

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.score_rows import finite_or_none

BASE_CSS = Path(__file__).parent / "base.css"
"""Style of every page, in light colors."""
THEME_CSS = Path(__file__).parent / "theme.css"
"""Dark colors, visible focus, and what pages of videos and the list of videos share."""
SERIES_JS = Path(__file__).parent / "series.js"
"""Decoding of arrays, and functions of time axes."""
FORMAT_JS = Path(__file__).parent / "format.js"
"""Numbers as text."""


def environment(folder: Path) -> jinja2.Environment:
    """Template environment of a folder and of ``head.html``: values are escaped, and an undefined name is an error."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"duration": format_duration, "count": format_count}
    return templates


def read_inline(*paths: Path) -> Markup:
    """The content of style sheets or scripts, in this order, for one inline element."""
    return Markup("\n".join(path.read_text().rstrip("\n") for path in paths))


def content_policy(script: str, **sources: str) -> str:
    """Content security policy of a page that runs this inline script and no other, and loads nothing except from ``sources``.

    Args:
        script: Text between the tags of the page's script.
        sources: Allowed sources by directive, with ``_`` for ``-``: ``media_src="'self'"``.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    directives = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "style-src": "'unsafe-inline'"}
    directives |= {"script-src": f"'sha256-{digest}'"} | {name.replace("_", "-"): source for name, source in sources.items()}
    return "; ".join(f"{name} {source}" for name, source in directives.items())


def write_page(target: Storage | Path, name: str, text: str) -> str:
    """Write a page atomically.

    Args:
        target: A storage, or a local folder.
        name: Path of the page below the target.
        text: HTML.

    Returns:
        Local path or URI of the page.

    Raises:
        StorageError: the target cannot be written.
    """
    storage = target if isinstance(target, Storage) else Storage(StorageConfig(uri=str(target)))
    storage.write_bytes(name, text.encode())
    return storage.uri(name)


def format_count(value: object) -> str:
    """``10,226``; a dash for a missing value."""
    finite = finite_or_none(value)
    return "–" if finite is None else f"{finite:,.0f}"


def format_duration(value: object) -> str:
    """Seconds as ``12.3 s``, ``3 min 11 s`` or ``2 h 05 min``; a dash for a missing value."""
    finite = finite_or_none(value)
    if finite is None:
        return "–"
    minutes, seconds = divmod(round(finite), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{finite:.1f} s"
