"""Memory that a computation can still take: of the device, of the system, and of the container this runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

Names = tuple[str, str, str]

_SECOND: Names = ("memory.max", "memory.current", "inactive_file")
_FIRST: Names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_memory(device: torch.device | str = "cpu", root: Path = Path("/")) -> int | None:
    """Bytes that a computation on this device can still take; None where that cannot be known.

    On the processor that is what the system can hand out, files that it can drop among it, and no more than what
    the control groups of this process leave (cgroup v2 or v1: containers, batch systems). root: above the system's
    tables.
    """
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [_of_system(root), *(_of_group(folder, names) for folder, names in _groups(root))]
    return min((each for each in left if each is not None), default=None)


def listed(table: Path, name: str, unit: int = 1024) -> int | None:
    """Bytes that a table of the system tells by this name, in kilobytes or another unit; None without."""
    found = [line.split()[1] for line in _lines(table) if line.startswith((f"{name} ", f"{name}:"))]
    return int(found[0]) * unit if found else None


def _of_system(root: Path) -> int | None:
    found = listed(root / "proc/meminfo", "MemAvailable")
    if found is not None:
        return found
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _groups(root: Path) -> Iterator[tuple[Path, Names]]:
    """The folder of each control group that bounds this process's memory, and of those around it.

    In a container the first may be named as the machine outside names it, and not be there; the last is its own.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, place = line.split(":", 2)
        if controllers in ("", "memory"):
            parts = [part for part in place.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                folder = root.joinpath("sys/fs/cgroup", controllers, *parts[:depth])
                yield folder, _FIRST if controllers else _SECOND


def _of_group(folder: Path, names: Names) -> int | None:
    """What the group's limit leaves, files that can be dropped among it; None where it has no limit."""
    most, used, droppable = names
    try:
        left = int((folder / most).read_text()) - int((folder / used).read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None
    return max(0, left + (listed(folder / "memory.stat", droppable, 1) or 0))


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
