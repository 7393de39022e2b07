"""The page of a comparison: the sentence, two charts, the grid of pictures, and the table."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

from unnoise import files, images
from unnoise.evaluation.cells import ALIKE, REFERENCE, Cell, Report
from unnoise.evaluation.report.chart import COLOURS, Axis, Point, Series, axis, chart
from unnoise.evaluation.report.page import embedded, page, shown, strip, table
from unnoise.limits import counted

_STRIP = 184  # pixels that four pictures take: five of them fit beside the names
_FRESH = '<span class="tag">draws noise</span>'


def write_comparison(report: Report, folder: str | Path) -> Path:
    """Write report.html, report.json and a PNG for each cell into `folder`; returns the page's path."""
    folder = files.expanded(folder)
    for (name, steps), pictures in report.pictures.items():
        word = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("+", "p")).strip("-")
        sheet = images.grid(images.to_pil(shown(pictures)))
        images.write_png(folder / "pictures" / f"{word}-{steps:03d}.png", sheet)
    sheet = images.grid(images.to_pil(shown(report.converged)))
    images.write_png(folder / "pictures" / "converged.png", sheet)
    files.write_text(folder / "report.json", json.dumps(report.to_dict(), indent=1) + "\n")
    path = folder / "report.html"
    files.write_text(path, comparison_page(report))
    return path


def comparison_page(report: Report) -> str:
    """The HTML document."""
    title = f"Schedulers compared on {report.model}"
    told = "the model's own" if report.guidance is None else f"{report.guidance:g}"
    measure = report.measure[0].upper() + report.measure[1:]
    pictures = f"{len(report.seeds)} pictures a cell, the same noise in each; guidance {told}"
    body = f"""<h1>{html.escape(title)}</h1><p class="soft">{pictures}</p>
<p class="say">{html.escape(report.sentence)}</p>{_fewest(report)}
<div class="pair"><div class="card"><h2>Coherence: how far from the converged picture</h2>
<p class="soft">Lower is nearer. Rings: nothing here is nearer for as few calls.</p>{_error_chart(report)}</div>
<div class="card"><h2>Quality: how far from what it should look like</h2>
<p class="soft">{html.escape(measure)} to {report.against}; 0 is no difference, bars are 95&nbsp;% intervals.
Dashed: draws noise.</p>{_quality_chart(report)}</div></div>
<h2>The pictures</h2><p class="soft">The first four seeds. Every row starts from the same noise. Below each: SSIM to
the converged picture, which schedulers that draw noise have not, and network calls. Framed: what the sentence
recommends.</p>
<div class="card">{_pictures(report)}</div>
<h2>The numbers</h2><div class="card">{_table(report)}</div>
{_notes(report)}"""
    return page(title, body)


def _fewest(report: Report) -> str:
    """For each scheduler the fewest steps that look converged, and their calls where they differ, as chips."""
    calls = {(cell.scheduler, cell.steps): cell.calls for cell in report.cells}

    def told(name: str, steps: int | None) -> str:
        if steps is None:
            return "none tried"
        asked = calls[name, steps]
        return str(steps) if asked == steps else f"{steps} ({counted(asked, 'call')})"

    chips = [
        f'<span class="chip">{html.escape(name)} <b>{told(name, steps)}</b></span>'
        for name, steps in report.fewest.items()
    ]
    if not chips:
        return ""
    return f'<div class="chips"><span class="soft">Fewest steps with SSIM ≥ {ALIKE}:</span>{"".join(chips)}</div>'


def _by_name(report: Report) -> dict[str, list[Cell]]:
    """The cells of each scheduler."""
    found: dict[str, list[Cell]] = {}
    for cell in report.cells:
        found.setdefault(cell.scheduler, []).append(cell)
    return found


def _series(report: Report, keep: Callable[[Cell], bool], point: Callable[[Cell], Point]) -> list[Series]:
    found = []
    for (name, every), colour in zip(_by_name(report).items(), itertools.cycle(COLOURS), strict=False):
        cells = [cell for cell in every if keep(cell)]
        if cells:
            found.append(Series(name, tuple(map(point, cells)), colour, cells[0].stochastic))
    return found


def _error_chart(report: Report) -> str:
    def point(cell: Cell) -> Point:
        words = f"{cell.scheduler}, {counted(cell.steps, 'step')}: error {cell.error:.3g}, SSIM {cell.similarity:.3f}"
        return Point(cell.calls, max(cell.error or 0.0, 1e-6), words, ring=cell.on_front)

    series = _series(report, lambda cell: cell.error is not None, point)
    if not series:
        return "<p>All schedulers here draw fresh noise: there is no converged picture.</p>"
    heights = [point.y for each in series for point in each.points]
    return _chart(series, axis("relative error to the converged picture", heights, True))


def _quality_chart(report: Report) -> str:
    def point(cell: Cell) -> Point:
        words = f"{cell.scheduler}, {counted(cell.steps, 'step')}: {cell.quality}"
        return Point(cell.calls, cell.quality.value, words, cell.quality.low, cell.quality.high)

    ends = [value for cell in report.cells for value in (cell.quality.low, cell.quality.high)]
    series = _series(report, lambda cell: True, point)
    return _chart(series, axis(report.measure.partition(" of ")[0], ends, False))


def _chart(series: list[Series], up: Axis) -> str:
    calls = [point.x for each in series for point in each.points]
    return chart(series, axis("network calls a picture", calls, True), up)


def _pictures(report: Report) -> str:
    numbers = sorted({cell.steps for cell in report.cells})
    head = ["", *(counted(number, "step") for number in numbers), "converged"]
    best, rows = report.best, []
    truth = f'{embedded(strip(report.converged), _STRIP, "converged")}<span class="told">&nbsp;</span>'
    for name, cells in _by_name(report).items():
        shown = [f"{html.escape(name)}<br>{_FRESH if cells[0].stochastic else ''}"]
        for cell in cells:
            picture = embedded(
                strip(report.pictures[name, cell.steps]), _STRIP, f"{name}, {counted(cell.steps, 'step')}"
            )
            calls = counted(cell.calls, "call")
            told = calls if cell.similarity is None else f"{cell.similarity:.3f}, {calls}"
            ring = ' style="outline:3px solid var(--good);outline-offset:-2px"' if cell == best else ""
            shown.append(f'<div{ring}>{picture}</div><span class="told">{told}</span>')
        rows.append(("rule", [*shown, "" if cells[0].stochastic else truth]))
    return table(head, rows, left=len(head))


def _table(report: Report) -> str:
    head = [
        "scheduler",
        "steps",
        "calls",
        "ms a picture",
        "quartiles",
        "overhead",
        "error",
        "SSIM",
        "to next",
    ]
    head += ["quality", *(["asked for"] if report.judge else [])]
    rows, before = [], ""
    for cell in report.cells:
        fresh = f" {_FRESH}" if cell.stochastic else ""
        values = [
            f"{html.escape(cell.scheduler)}{fresh}" if cell.scheduler != before else "",
            str(cell.steps),
            str(cell.calls),
            _milliseconds(cell.seconds),
            f"{_milliseconds(cell.spread[0])} to {_milliseconds(cell.spread[1])}",
            f"{1e6 * cell.overhead:.0f} µs",
            _number(cell.error, "#.3g"),
            *(_number(value, ".3f") for value in (cell.similarity, cell.steadiness)),
            f"{cell.quality.value:.3g} ({cell.quality.low:.3g} to {cell.quality.high:.3g})",
            *([_number(cell.alignment, ".3f")] if report.judge else []),
        ]
        kinds = ["rule"] * (cell.scheduler != before) + ["front"] * cell.on_front
        rows.append((" ".join(kinds), values))
        before = cell.scheduler
    return table(head, rows)


def _milliseconds(seconds: float) -> str:
    value = 1e3 * seconds
    return f"{value:.3g}" if value < 100.0 else f"{value:,.0f}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _notes(report: Report) -> str:
    prompts = ", ".join(f"“{html.escape(prompt)}”" for prompt in report.prompts if prompt) or "none"
    gap = f"{report.reference_gap:.2g}"
    judged = (
        f"""<p><b>Asked for</b>: mean cosine between the pictures and their prompts by the encoder
{html.escape(report.judge)}; the converged pictures have {_number(report.converged_alignment, ".3f")}.</p>"""
        if report.judge
        else ""
    )
    return f"""<h2>How it was measured</h2>
<p><b>Error</b>: root mean square of the difference to the converged picture of the same noise, over that of the
picture. Converged: {report.reference_steps} steps of {REFERENCE}, which half as many change by {gap}. <b>SSIM</b>:
structural similarity to the same, 1 is equal; <b>to next</b>: to the next number of steps.</p>
<p>Schedulers that <b>draw noise</b> have no converged picture: they are compared as distributions, by quality.</p>
<p><b>Quality</b>: {html.escape(report.measure)}, unbiased, to {report.against}; it can fall below 0 by chance, and does
where the prompts of both are matched. Intervals come from half samples.</p>
{judged}
<p><b>Calls</b>: of the network, for each picture; with guidance each call asks both halves in one batch. <b>ms a
picture</b>: median over the steps of this batch, on this machine, as busy as it was. <b>Overhead</b>: a step of the
scheduler alone, for the whole batch. Bold rows are on the front of calls and error.</p>
<p class="soft">Prompts, in turn: {prompts}. Seeds {report.seeds[0]} to {report.seeds[-1]}.</p>"""
