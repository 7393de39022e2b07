"""The page of one run, step by step."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from unnoise import files
from unnoise.evaluation.inspection import InspectedStep, Inspection
from unnoise.evaluation.report.chart import COLOURS, Point, Series, axis, chart
from unnoise.evaluation.report.page import page, picture, table
from unnoise.limits import counted

_WIDTH = 104


def write_inspection(inspection: Inspection, path: str | Path) -> Path:
    """Write the page to `path` and its numbers beside it as JSON; returns the page's path."""
    path = files.expanded(path)
    files.write_text(path, inspection_page(inspection))
    files.write_text(path.with_suffix(".json"), json.dumps(inspection.to_dict(), indent=1) + "\n")
    return path


def inspection_page(inspection: Inspection) -> str:
    """The HTML document."""
    said = f"“{inspection.prompt}”" if inspection.prompt else "A picture without a prompt"
    title = (
        f"{said}, seed {inspection.seed}, {inspection.scheduler}, {counted(len(inspection.steps), 'step')}"
    )
    head = ["step", "x<sub>t</sub>, as seen", "x<sub>0</sub>, predicted", "noise residual", "posterior mean",
            "change of x<sub>0</sub>", "numbers"]  # fmt: skip
    befores = [None, *inspection.steps[:-1]]
    rows = [("rule", _row(step, before)) for step, before in zip(inspection.steps, befores, strict=True)]
    body = f"""<h1>{html.escape(title)}</h1>
<p class="soft">What every step saw, what the network said of it, and the Gaussian of the reverse step.</p>
<div class="pair"><div class="card"><h2>The result</h2>{picture(inspection.picture, 260, said)}</div>
<div class="card"><h2>Where the picture is decided</h2>
<p class="soft">Cost of the step in bits a number, and change of the predicted picture.</p>
{_curves(inspection)}</div></div>
<h2>Step by step</h2><div class="card">{table(head, rows, left=len(head))}</div>
<p class="soft">Each picture is scaled to its own range but x<sub>0</sub>, which is shown as it is. The posterior is
that of the process between the two levels at this estimate, with the model's variance; the scheduler may take another
step. The cost is KL(q‖p) in bits a number, q being the step that leads to the final picture.</p>"""
    return page(title, body)


def _row(step: InspectedStep, before: InspectedStep | None) -> list[str]:
    change = torch.zeros_like(step.x0) if before is None else step.x0 - before.x0
    pictures = [
        picture(_ranged(step.x), _WIDTH, "x_t"),
        picture(step.x0, _WIDTH, "x_0"),
        picture(_ranged(step.noise), _WIDTH, "noise residual"),
        picture(_ranged(step.posterior.mean), _WIDTH, "posterior mean"),
        picture(_ranged(change), _WIDTH, "change"),
    ]
    return [str(step.index + 1), *pictures, _numbers(step)]


def _numbers(step: InspectedStep) -> str:
    deviation = torch.as_tensor(step.posterior.variance).float().sqrt()
    spread = f"{float(deviation.mean()):.3g}"
    if deviation.numel() > 1:
        spread += f" ({float(deviation.min()):.2g} to {float(deviation.max()):.2g})"
    rows = {
        "noise σ": f"{float(step.start.sigma):.4f} → {float(step.level.sigma):.4f}",
        "log-SNR": f"{_signed(float(step.start.log_snr))} → {_signed(float(step.level.log_snr))}",
        "posterior deviation": spread,
        "cost": "–" if step.kl is None else f"{step.kl:.3g} bits",
        "change of x": f"{step.change:.3g}",
        "change of x₀": "–" if step.x0_change is None else f"{step.x0_change:.3g}",
    }
    lines = "<br>".join(f'<span class="soft">{name}</span> {value}' for name, value in rows.items())
    return f'<div class="plain">{lines}</div>'


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def _ranged(tensor: Tensor) -> Tensor:
    """Scaled so that its largest magnitude is 1: 0 stays mid grey."""
    return tensor / tensor.abs().max().clamp(min=1e-8)


def _curves(inspection: Inspection) -> str:
    cost = [(step.index + 1, step.kl) for step in inspection.steps]
    change = [(step.index + 1, step.x0_change) for step in inspection.steps]
    series = []
    for place, (name, pairs) in enumerate((("cost", cost), ("change of x₀", change))):
        points = tuple(
            Point(index, max(value, 1e-6), f"{name} of step {index}: {value:.3g}")
            for index, value in pairs
            if value is not None and math.isfinite(value)
        )
        if points:
            series.append(Series(name, points, COLOURS[place]))
    if not series:
        return "<p>One step: there is nothing to draw.</p>"
    every = [point for each in series for point in each.points]
    across = axis("step", [1, *(point.x for point in every)], False)
    return chart(series, across, axis("bits a number; root mean square", [point.y for point in every], True))
