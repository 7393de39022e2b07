"""RUN/report.html: the run so far as one page, written again whenever something was measured.

It is made from `log.jsonl` alone, so that it can be made again at any time.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from unnoise import files
from unnoise.evaluation.report.chart import COLOURS, Point, Series, axis, chart
from unnoise.evaluation.report.page import page, table
from unnoise.training import run_folder
from unnoise.training.run_folder import Entry

NAME = "report.html"
_MOST = 400  # points of a curve: more cannot be told apart


def write(run: Path) -> Path:
    """Write the page of the run in this folder; returns its path. Raises FileError."""
    entries = run_folder.logged(run)
    steps = [entry for entry in entries if "images_per_second" in entry]
    held = [entry for entry in entries if entry.get("event") == "held out"]
    last = next((entry for entry in reversed(entries) if "steps" in entry), {"step": 0, "steps": 0})
    name = run.resolve().name  # of "." too
    body = f"""<h1>{html.escape(name)}</h1>
<p class="soft">Step {last["step"]:,} of {last["steps"]:,}.</p>
{_verdict(held)}
<div class="pair"><div class="card"><h2>Loss</h2><p class="soft">Of the batches, as they came, and of pictures that
training does not see.</p>{_losses(steps, held)}</div>
<div class="card"><h2>Held-out loss by noise level</h2><p class="soft">Eighths of the law of noise levels, 1 the
cleanest. The noise and the times are the same at every measurement.</p>{_bands(held)}</div>{_bound(held)}</div>
{_numbers(held)}"""
    path = run / NAME
    files.write_text(path, page(f"Training {name}", body))
    return path


def _verdict(held: Sequence[Entry]) -> str:
    if not held:
        return '<p class="say">No pictures are held out; data.held_out=0.1 measures on some.</p>'
    last, best = held[-1], min(held, key=lambda entry: float(entry["loss"]))
    said = f"Held-out loss {last['loss']:.4f} ± {last['error']:.4f}"
    said += f"; lowest {best['loss']:.4f} at step {best['step']:,}."
    if last.get("bits") is not None:
        said += f" Bound {last['bits']:.3f} ± {last['bits_error']:.3f} bits/dim."
    if last["overfitting_since"] is not None:
        said += f" Over-fitting since step {last['overfitting_since']:,}."
    return f'<p class="say">{said}</p>'


def _losses(steps: Sequence[Entry], held: Sequence[Entry]) -> str:
    curves = [
        _curve("batches", [(entry["step"], entry["loss"]) for entry in steps], COLOURS[8]),
        _curve("held out", [(entry["step"], entry["loss"]) for entry in held], COLOURS[0]),
    ]
    return _chart([curve for curve in curves if curve.points])


def _bands(held: Sequence[Entry]) -> str:
    count = len(held[0]["bands"]) if held else 0
    return _chart(
        [
            _curve(str(band + 1), [(entry["step"], entry["bands"][band]) for entry in held], COLOURS[band])
            for band in range(count)
        ]
    )


def _bound(held: Sequence[Entry]) -> str:
    """The card of the continuous-time bound; none for a model without."""
    pairs = [(entry["step"], entry["bits"]) for entry in held if entry.get("bits") is not None]
    if not pairs:
        return ""
    drawn = _chart([_curve("bound", pairs, COLOURS[0])], "bits/dim")
    return f"""<div class="card"><h2>Held-out bound</h2><p class="soft">Bits that a number of a held-out picture costs
under the model, at most (continuous-time bound); the noise and the log-SNRs stay the same.</p>{drawn}</div>"""


def _curve(name: str, pairs: Sequence[tuple[int, float]], colour: str) -> Series:
    every = max(1, -(-len(pairs) // _MOST))
    kept = [pair for pair in pairs[::every] if math.isfinite(pair[1])]  # float16 cannot hold all
    return Series(
        name, tuple(Point(step, loss, f"{name}, step {step:,}: {loss:.4g}") for step, loss in kept), colour
    )


def _chart(curves: Sequence[Series], unit: str = "loss") -> str:
    points = [point for curve in curves for point in curve.points]
    if not points:
        return "<p>Nothing has been measured yet.</p>"
    across, heights = axis("step", [point.x for point in points], False), [point.y for point in points]
    return chart(curves, across, axis(unit, heights, min(heights) > 0.0))  # a balanced loss may be negative


def _numbers(held: Sequence[Entry]) -> str:
    if not held:
        return ""
    head = ["step", "loss", "±", *(f"band {band + 1}" for band in range(len(held[0]["bands"])))]
    rows = []
    for entry in held[-20:]:
        numbers = (entry["loss"], entry["error"], *entry["bands"])
        rows.append(("rule", [f"{entry['step']:,}", *(f"{number:#.4g}" for number in numbers)]))
    return f'<h2>The last measurements</h2><div class="card">{table(head, rows)}</div>'
