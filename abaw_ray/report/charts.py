"""Data series -> chart geometry in SVG coordinates: ticks, paths, points. The template adds markup and colors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 250
"""Size of a chart in SVG units."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44
"""Margins of the plot area in SVG units."""
STYLES = ("main", "second", "third", "fourth", "fifth", "sixth")
"""CSS classes of curves that differ in color and dashes."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve; non-finite points leave gaps."""

    name: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    style: str = "main"
    """CSS class: one of ``STYLES`` or ``quiet``."""
    markers: bool = True
    """Whether points have markers."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Input of the template: texts, and positions in SVG units."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    paths: list[tuple[str, str]]
    """(style, SVG path)."""
    markers: list[tuple[float, float, str, str]]
    """(x, y, tooltip, style)."""
    legend: list[tuple[str, str]]
    """(style, name) of the curves, where several differ in style."""
    vertical_line: tuple[float, str] | None = None
    """A vertical line at x with its label."""
    box: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    size: tuple[int, int] = field(default=(WIDTH, HEIGHT))


def _ticks(low: float, high: float, *, integer: bool = False) -> list[float]:
    return [float(tick) for tick in MaxNLocator(nbins=5, integer=integer).tick_values(low, high if high > low else low + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    return [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    vertical_line: tuple[float, str] | None = None,
    integer_x: bool = False,
    log_x: bool = False,
) -> Chart | None:
    """Chart of several series on common axes; None if no series has a finite point. With ``log_x``, all x must be positive."""
    finite = [np.isfinite(line.x) & np.isfinite(line.y) for line in series]
    if not any(mask.any() for mask in finite):
        return None
    xs = np.concatenate([line.x[mask] for line, mask in zip(series, finite, strict=True)] + ([np.array([vertical_line[0]])] if vertical_line else []))
    ys = np.concatenate([line.y[mask] for line, mask in zip(series, finite, strict=True)])
    x_ticks = _log_ticks(xs.min(), xs.max()) if log_x else _ticks(xs.min(), xs.max(), integer=integer_x)
    y_ticks = _ticks(ys.min(), ys.max())
    scale = np.log if log_x else float
    x_low, x_high = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def to_svg_x(x: float) -> float:
        return round(_LEFT + (scale(x) - scale(x_low)) / (scale(x_high) - scale(x_low)) * (WIDTH - _LEFT - _RIGHT), 1)

    def to_svg_y(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM), 1)

    paths, markers = [], []
    for line, mask in zip(series, finite, strict=True):
        points = [(to_svg_x(x), to_svg_y(y)) if ok else None for x, y, ok in zip(line.x, line.y, mask, strict=True)]
        paths.append((line.style, _path(points)))
        if line.markers:
            values = zip(points, line.x, line.y, strict=True)
            markers += [(*point, f"{line.name}: {y_label} {y:.3f} at {x_label} {x:g}", line.style) for point, x, y in values if point]
    named = [(line.style, line.name) for line in series if line.style in STYLES]
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[(to_svg_x(tick), f"{tick:g}") for tick in x_ticks if x_low <= tick <= x_high],
        y_ticks=[(to_svg_y(tick), f"{tick:.3g}") for tick in y_ticks],
        paths=paths,
        markers=markers,
        legend=named if len(named) > 1 else [],
        vertical_line=(to_svg_x(vertical_line[0]), vertical_line[1]) if vertical_line else None,
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """SVG path through the points, with a gap where a point is missing."""
    commands, command = [], "M"
    for point in points:
        if point is None:
            command = "M"
            continue
        commands.append(f"{command}{point[0]:g} {point[1]:g}")
        command = "L"
    return " ".join(commands)
