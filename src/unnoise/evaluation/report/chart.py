"""Line charts as SVG text: no dependency, sharp at any size, and they follow the page's light or dark colours."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

COLOURS = (
    "#2f6fde", "#d9641e", "#1a9a68", "#b8419a", "#8a6d1b", "#7a5cd6", "#c23b3b", "#21929c", "#6b7785", "#5c8a1e"
)  # fmt: skip
_WIDE, _HIGH = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 168, 14, 44


@dataclass(frozen=True)
class Point:
    """Where a measurement lies, its interval (None without), whether it is on the front, and words for the pointer."""

    x: float
    y: float
    words: str
    low: float | None = None
    high: float | None = None
    ring: bool = False


@dataclass(frozen=True)
class Series:
    """The points of one name, joined in order; dashed where each is a draw."""

    name: str
    points: tuple[Point, ...]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """From value to pixel. low, high: what it spans. log: powers of ten at equal lengths."""

    name: str
    low: float
    high: float
    log: bool

    def part(self, value: float) -> float:
        """Where between 0 and 1 the value lies."""
        low, high, value = (self._map(each) for each in (self.low, self.high, value))
        return (value - low) / (high - low)

    def _map(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def ticks(self) -> list[float]:
        """Round values to mark, at most eight."""
        if not self.log:
            rough = (self.high - self.low) / 5
            unit = 10.0 ** math.floor(math.log10(rough))
            step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
            first = math.ceil(self.low / step)
            return [place * step for place in range(first, math.floor(self.high / step) + 1)]
        if self.high < 10.0 * self.low:  # too few powers of ten to read a value by
            return Axis(self.name, self.low, self.high, False).ticks()
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1, 2, 5) if len(powers) < 5 else (1,)
        found = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]


def axis(name: str, values: Sequence[float], log: bool) -> Axis:
    """An axis with a little room around the values."""
    low, high = min(values), max(values)
    if log:
        factor = (high / low) ** 0.06 if high > low else 1.25
        return Axis(name, low / factor, high * factor, True)
    room = 0.06 * (high - low) or 0.5
    return Axis(name, low - room, high + room, False)


def chart(series: Sequence[Series], across: Axis, up: Axis) -> str:
    """The SVG element."""
    body = _frame(across, up)
    for place, each in enumerate(series):
        body += _drawn(each, across, up, 3.0 * (place - 0.5 * (len(series) - 1)))
    body += _labels(series, across, up)
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{html.escape(up.name)}">{body}</svg>'


def _place(across: Axis, up: Axis, x: float, y: float) -> tuple[float, float]:
    wide, high = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM
    return _LEFT + across.part(x) * wide, _TOP + (1.0 - min(1.0, max(0.0, up.part(y)))) * high


def _frame(across: Axis, up: Axis) -> str:
    parts = []
    for value in up.ticks():
        _, y = _place(across, up, across.low, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in across.ticks():
        x, _ = _place(across, up, value, up.low)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HIGH - _BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HIGH - _BOTTOM + 18}" text-anchor="middle">{value:.4g}</text>')
    middle, centre = (_LEFT + _WIDE - _RIGHT) / 2, (_TOP + _HIGH - _BOTTOM) / 2
    parts.append(f'<text x="{middle}" y="{_HIGH - 6}" text-anchor="middle">{html.escape(across.name)}</text>')
    parts.append(
        f'<text transform="translate(14 {centre}) rotate(-90)" text-anchor="middle">{html.escape(up.name)}</text>'
    )
    return "".join(parts)


def _drawn(series: Series, across: Axis, up: Axis, aside: float) -> str:
    """The line and its points; bars are drawn so many pixels aside, for those of several names share a place."""
    places = [_place(across, up, point.x, point.y) for point in series.points]
    dash = ' stroke-dasharray="5 4"' if series.dashed else ""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{line}" fill="none" stroke="{series.colour}" stroke-width="1.8"{dash}/>']
    for (x, y), point in zip(places, series.points, strict=True):
        if point.low is not None and point.high is not None:
            ends = [_place(across, up, point.x, value)[1] for value in (point.low, point.high)]
            parts.append(
                f'<line x1="{x + aside:.1f}" x2="{x + aside:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" '
                f'stroke="{series.colour}" stroke-opacity=".45" stroke-width="2"/>'
            )
        if point.ring:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{series.colour}"/>')
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{series.colour}"><title>{html.escape(point.words)}</title>'
            "</circle>"
        )
    return "".join(parts)


def _labels(series: Sequence[Series], across: Axis, up: Axis) -> str:
    """Each name at the end of its line, pushed apart where they would overlap."""
    ends = [
        (_place(across, up, each.points[-1].x, each.points[-1].y), each) for each in series if each.points
    ]
    ends.sort(key=lambda end: end[0][1])
    tops = list(accumulate((y for (_, y), _ in ends), lambda top, y: max(y, top + 15.0)))
    over = max(0.0, max(tops, default=0.0) - (_HIGH - _BOTTOM))
    parts = []
    for ((x, y), each), top in zip(ends, tops, strict=True):
        level = top - over
        parts.append(
            f'<line x1="{x + 6:.1f}" x2="{_WIDE - _RIGHT + 8}" y1="{y:.1f}" y2="{level:.1f}" stroke="{each.colour}" '
            'stroke-opacity=".4"/>'
            f'<text class="label" x="{_WIDE - _RIGHT + 11}" y="{level + 4:.1f}" style="fill:{each.colour}">'
            f"{html.escape(each.name)}</text>"
        )
    return "".join(parts)
