"""`unnoise models`: the models that come with the package."""

from __future__ import annotations

import argparse
from typing import Any

from unnoise.cli.answering import answer

EXAMPLES = ()
PARTS = ({"--json": "print one JSON object"},)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.checkpoints import shipped
    from unnoise.checkpoints.manifest import WEIGHTS, read_manifest

    told: dict[str, Any] = {}
    for name, folder in shipped().items():
        manifest = read_manifest(folder)
        channels, height, width = manifest.size
        told[name] = {
            "folder": str(folder),
            "bytes": (folder / WEIGHTS).stat().st_size,
            "width": width,
            "height": height,
            "channels": channels,
            "card": manifest.card,
        }
    return answer(arguments.json, told, _table(told))


def _table(told: dict[str, Any]) -> str:
    if not told:
        return "no model comes with this build; train one: unnoise train pictures/ --out run/"
    lines = []
    for name, facts in told.items():
        lines.append(f"{name}  {facts['width']}x{facts['height']}, {facts['bytes'] / 1e6:.1f} MB")
        for key, value in facts["card"].items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"  {key:<10}{shown}")
    return "\n".join(lines)
