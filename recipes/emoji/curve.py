"""The training curve of the model card: the loss of the recipe's eight runs, one after another, as SVG.

python recipes/emoji/curve.py FILE.svg SISTER RUN LONGER WHOLE WIDE WIDER AGAIN LAST
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from unnoise.evaluation.report.chart import COLOURS, Point, Series, axis, chart
from unnoise.files import write_text

STYLE = (
    "<style>text{font:12px sans-serif;fill:#5b6675}.grid{stroke:#d9dee6}.label{font-weight:600}</style>"
    '<rect width="100%" height="100%" fill="#ffffff"/>'
)
MEAN = 10  # logged losses are of one batch each
NAMES = (
    "32, on the split",
    "32, on all",
    "32, longer",
    "64, on all",
    "64, wide, on a GPU",
    "64, wide, on two cores",
    "64, wide, once more",
    "64, wide, on a GPU again",
)


def curve(run: Path, begun: int) -> tuple[list[Point], int]:
    """The mean of each ten logged losses, steps counted on from `begun`; and the last step."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "loss" in row and "images_per_second" in row]
    points = []
    for start in range(0, len(rows), MEAN):
        part = rows[start : start + MEAN]
        step = begun + part[-1]["step"]
        loss = sum(row["loss"] for row in part) / len(part)
        points.append(Point(step, loss, f"step {step}: {loss:.3f}"))
    return points, begun + rows[-1]["step"]


def main(path: Path, runs: list[Path]) -> None:
    begun, series = 0, []
    for name, run, colour in zip(NAMES, runs, COLOURS, strict=False):
        points, begun = curve(run, begun)
        series.append(Series(name, tuple(points), colour))
    every = [point for each in series for point in each.points]
    across, up = (
        axis("training step", [p.x for p in every], False),
        axis("loss", [p.y for p in every], True),
    )
    drawn = chart(series, across, up).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    write_text(path, drawn.replace(">", ">" + STYLE, 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
