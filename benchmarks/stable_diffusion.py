"""Stable Diffusion at its full size, ours beside diffusers: time and peak memory, and parity.

    python benchmarks/stable_diffusion.py --models FOLDER [--minutes 40] [--only unet,vae] [--size miniature]
    python benchmarks/stable_diffusion.py parity --models FOLDER [--families sd1,sd2]

Writes models of random weights into FOLDER (4 GB for Stable Diffusion 1.5, 13 more for XL), or finds them there. All
sides of a cell run in one go, each in a process of its own, turn by turn; a ratio is of medians. What was measured is
kept in FOLDER/cells-SIZE.json: a second run goes on where the first one stopped. The last thing printed is a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

for _library in ("TRANSFORMERS", "DIFFUSERS"):  # and the workers inherit it
    os.environ.setdefault(f"{_library}_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from full_size import cells, parity, table  # noqa: E402 - what they import reads the environment


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        cells.work(json.loads(sys.argv[2]))
        return
    if sys.argv[1:2] == ["one-side"]:
        parity.one_side(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", nargs="?", choices=("speed", "parity", "table"), default="speed")
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER", help="where the models lie")
    parser.add_argument("--size", choices=("full", "miniature"), default="full")
    parser.add_argument("--minutes", type=float, default=60.0, help="after these no new round is begun")
    names = [cell.name for cell in cells.CELLS]
    parser.add_argument("--only", default=",".join(names), help=f"of {', '.join(names)}")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--quick", action="store_true", help="one round a cell")
    parser.add_argument("--steps", type=int, default=20, help="of the whole picture")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--families", default="sd1", help="whose parity: sd1, sd2, sdxl, refiner")
    parser.add_argument(
        "--side", type=int, help="of the latents whose parity is asked; the family's own by default"
    )
    asked = parser.parse_args()
    asked.models.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * asked.minutes
    how = cells.How(
        Path(__file__).resolve(),
        asked.models.resolve(),
        asked.size,
        asked.steps,
        asked.threads,
        until,
        asked.quick,
    )
    if asked.mode == "parity":
        sys.exit(parity.compare(asked.families.split(","), how, asked.side))
    store = asked.models / f"cells-{asked.size}.json"
    chosen = asked.only.split(",")
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"unknown cells {', '.join(unknown)}; there are {', '.join(names)}")
    if asked.mode == "speed":
        known = cells.read(store)
        for cell in cells.CELLS if asked.again else ():
            if cell.name in chosen:
                known["cells"].pop(cell.name, None)
                shutil.rmtree(how.kept(cell), ignore_errors=True)
        cells.write(store, known | {"machine": table.machine()})
        cells.all_cells(chosen, how, store)
    print(table.table(cells.read(store), how))


if __name__ == "__main__":
    main()
