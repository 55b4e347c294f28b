"""Curves as coordinates of a small drawing: ticks, lines, dots. The template draws them; nothing here knows HTML or colours of a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve; points that are not finite break it."""

    name: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    style: str = "main"
    """CSS class: ``main``, ``quiet``."""
    dots: bool = True


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What the template needs: texts, and all positions in units of the drawing."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    paths: list[tuple[str, str]]
    """(style, SVG path)."""
    dots: list[tuple[float, float, str]]
    """(x, y, text to show on hover)."""
    mark: tuple[float, str] | None = None
    """A vertical line at x with its text."""
    box: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    size: tuple[int, int] = field(default=(WIDTH, HEIGHT))


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    return [float(tick) for tick in MaxNLocator(nbins=5, integer=whole).tick_values(low, high if high > low else low + 1)]


def line_chart(
    title: str, lines: Sequence[Line], *, x_label: str, y_label: str, mark: tuple[float, str] | None = None, whole_x: bool = False
) -> Chart | None:
    """Lay out curves over common axes.

    Returns:
        The drawing, or None where no curve has a single finite point: there is nothing to draw then.
    """
    good = [np.isfinite(line.x) & np.isfinite(line.y) for line in lines]
    if not any(mask.any() for mask in good):
        return None
    xs = np.concatenate([line.x[mask] for line, mask in zip(lines, good, strict=True)] + ([np.array([mark[0]])] if mark else []))
    ys = np.concatenate([line.y[mask] for line, mask in zip(lines, good, strict=True)])
    x_ticks, y_ticks = _ticks(xs.min(), xs.max(), whole=whole_x), _ticks(ys.min(), ys.max())
    x_low, x_high = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def across(x: float) -> float:
        return round(_LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT), 1)

    def down(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM), 1)

    paths, dots = [], []
    for line, mask in zip(lines, good, strict=True):
        points = [(across(x), down(y)) if ok else None for x, y, ok in zip(line.x, line.y, mask, strict=True)]
        paths.append((line.style, _path(points)))
        if line.dots:
            values = zip(points, line.x, line.y, strict=True)
            dots += [(*point, f"{line.name}: {y_label} {y:.3f} at {x_label} {x:g}") for point, x, y in values if point]
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[(across(tick), f"{tick:g}") for tick in x_ticks if x_low <= tick <= x_high],
        y_ticks=[(down(tick), f"{tick:.3g}") for tick in y_ticks],
        paths=paths,
        dots=dots,
        mark=(across(mark[0]), mark[1]) if mark else None,
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """SVG path through the points, broken where one is missing."""
    parts, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{point[0]:g} {point[1]:g}")
        pen = "L"
    return " ".join(parts)
