"""`unnoise schedulers`: the schedulers by name, and the parts they are made of."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import TYPE_CHECKING

from unnoise.cli.answering import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unnoise.schedulers.names import Named
EXAMPLES = ()
PARTS = ({"--json": "print one JSON object"},)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.schedulers import names

    rows, grids = names.table(), list(names.grid_names())
    told = {
        "schedulers": [{"name": row.name, **row.facts(), "parts": repr(row.scheduler)} for row in rows],
        "grids": grids,
        "compat": list(names.PROGRAMS),
    }
    more = f'A grid may follow a name, as in "DPM++ 2M Karras": {", ".join(grids)}.'
    return answer(arguments.json, told, "\n".join([*_listing(rows), "", more]))


def _listing(rows: Sequence[Named]) -> list[str]:
    """A line a scheduler, family by family."""
    wide = max(len(row.name) for row in rows) + 2
    lines = [f"{'':<{wide + 2}}order  calls a step"]
    for family, members in groupby(rows, key=lambda row: row.family):
        lines += ["", family]
        for row in members:
            noise = "draws noise  " if row.stochastic else "             "
            also = f"  (also {', '.join(row.spellings)})" if row.spellings else ""
            lines.append(f"  {row.name:<{wide}}{row.order:>5}  {row.calls:>5}  {noise}{row.about}{also}")
    return lines
