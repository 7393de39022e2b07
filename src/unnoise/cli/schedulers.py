"""`unnoise schedulers`: the schedulers by name, and the parts they are made of."""

from __future__ import annotations

import argparse
import json
import sys

from unnoise.cli import parser


def add(commands: argparse._SubParsersAction[parser.Parser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser("schedulers", help="list the schedulers", description=__doc__)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    parser.finish(command, "schedulers", run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.schedulers import names

    rows = names.table()
    if arguments.json:
        told = [
            {
                "name": row.name,
                "spellings": list(row.spellings),
                "about": row.about,
                "stochastic": row.scheduler.stochastic,
                "parts": repr(row.scheduler),
            }
            for row in rows
        ]
        sys.stdout.write(json.dumps({"schedulers": told, "grids": list(names.grid_names())}) + "\n")
        return 0
    wide = max(len(row.name) for row in rows) + 2
    for row in rows:
        fresh = "draws noise  " if row.scheduler.stochastic else "             "
        also = f"  (also {', '.join(row.spellings)})" if row.spellings else ""
        sys.stdout.write(f"{row.name:<{wide}}{fresh}{row.about}{also}\n")
    sys.stdout.write(
        f'\nA grid may follow a name, as in "DPM++ 2M Karras": {", ".join(names.grid_names())}.\n'
    )
    return 0
