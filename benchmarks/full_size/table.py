"""The cells as a Markdown table, the machine named."""

from __future__ import annotations

import os
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from full_size.cells import CELLS, How
from full_size.models import place

BARS = {
    ("unet", "diffusers bf16"): 1.25,
    ("vae", "diffusers bf16"): 1.45,
    ("load", "read and cast"): 1 / 1.3,
    ("ready", "diffusers bf16 channels-last"): 1 / 1.2,
    ("unet-openvino", "diffusers openvino"): 1.08,
    ("vae-openvino", "diffusers openvino"): 1.1,
}
"""What ours must reach: the other side's time over ours."""

_QUIET = 0.12  # cores


def machine() -> dict[str, Any]:
    """What the figures are of."""
    try:
        lines = dict(
            line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
        )
        told = {key.strip(): value.strip() for key, value in lines.items()}
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except OSError:
        told, memory = {}, 0
    flags = set(told.get("flags", "").split())
    return {
        "processor": told.get("model name", "unknown"),
        "family": f"family {told.get('cpu family', '?')}, model {told.get('model', '?')}",
        "cores": os.cpu_count(),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kinds": ", ".join(name for name in ("avx512_bf16", "amx_bf16") if name in flags) or "no bfloat16",
        "threads": torch.get_num_threads(),
        "versions": f"torch {torch.__version__}, diffusers {version('diffusers')}, "
        f"transformers {version('transformers')}",
    }


def table(known: dict[str, Any], how: How) -> str:
    """Markdown: a row for each side of each cell."""
    about = known["machine"]
    lines = [
        f"{about['processor']} ({about['family']}; {about['kinds']}), {about['cores']} cores, "
        f"{about['threads']} threads, {about['memory']}; {about['versions']}. Stable Diffusion 1.5 and XL at "
        f"{'their full size' if how.size == 'full' else 'miniature size'}, random weights. "
        "Ratio: that side's median time over ours, measured turn by turn.",
        "",
        "| work | side | s | ratio | bar | peak MiB | calls |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for cell in CELLS:
        rows = known["cells"].get(cell.name, [])
        ours = statistics.median(rows[0]["seconds"]) if rows else 1.0
        for row in rows:
            work = cell.says.format(steps=how.steps) if row is rows[0] else ""
            memory = f"{row['peak'] / 2**20:.0f}"
            if cell.name == "load":
                memory += f" ({_over_weights(row, how):.2f} x weights)"
            seconds = statistics.median(row["seconds"])
            bar = BARS.get((cell.name, row["side"]))
            lines.append(
                f"| {work} | {row['side']} | {seconds:.3g} | {seconds / ours:.2f} | "
                f"{f'{bar:.2f}' if bar else ''} | {memory} | {_calls(row)} |"
            )
    return "\n".join(lines + _notes(known))


def _notes(known: dict[str, Any]) -> list[str]:
    """Of the sides whose answers are compared: the error, when they were ready, what their graphs took."""
    lines = []
    for cell in CELLS:
        rows = known["cells"].get(cell.name, []) if cell.compared else []
        for row in rows:
            said = f"- {cell.name}, {row['side']}: error {row['error']:.1e} against float32, first call done after "
            said += f"{row['ready']:.1f} s"
            if export := row["export"]:
                said += f"; graph written once in {export['seconds']:.0f} s and {export['peak'] / 2**20:.0f} MiB, "
                said += f"{export['products'] / 1e9:.1f} G multiplications a call"
            lines.append(said)
    return ["", *lines] if lines else []


def _over_weights(row: dict[str, Any], how: How) -> float:
    """Peak memory less that of the imports, over the loaded weights (the file has as many bytes, in float16)."""
    return (row["peak"] - row["imports"]) / place(how.root, how.size, "sd1").file.stat().st_size


def _calls(row: dict[str, Any]) -> str:
    """How many, and how many of them while other processes left the machine alone."""
    quiet = sum(others < _QUIET for others in row["others"])
    count = len(row["seconds"])
    return f"{count}" if quiet == count else f"{count} ({quiet} quiet)"
