"""Steps fitted to a model, and the small JSON file that keeps them: `scheduler="tuned:FILE"`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unnoise import files
from unnoise.errors import FileError, InputError
from unnoise.files import expanded
from unnoise.limits import Declared
from unnoise.schedulers.grids import Ratios
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.solvers.adjusted import Adjusted

PREFIX = "tuned:"
"""What a scheduler's name begins with where the rest is a file."""

_FORMAT = "unnoise tuned scheduler 1"


@dataclass(frozen=True)
class Tuned(Declared):
    """Levels and factors for one number of steps.

    base: name of the scheduler whose solver and final rule are used. ratios: sigma / alpha of each step's start,
    noisiest first. changes: what is added to the factors of each step's latest looks (`solvers.Adjusted`). facts:
    with what they were found, and how near they come; plain values.
    """

    base: str
    ratios: tuple[float, ...]
    changes: tuple[tuple[float, ...], ...]
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def on(self, base: Scheduler) -> Scheduler:
        """The scheduler; base: that of the name `base`."""
        grid = Ratios(self.ratios)
        if not any(any(row) for row in self.changes):
            return replace(base, grid=grid)
        return replace(base, grid=grid, solver=Adjusted(base.solver, self.changes))

    def write(self, path: str | Path) -> None:
        """Save as JSON, whole or not at all. Raises FileError where the folder cannot be written."""
        told = {"format": _FORMAT, "base": self.base, "ratios": self.ratios, "changes": self.changes}
        text = json.dumps({**told, "facts": dict(self.facts)}, indent=1) + "\n"
        files.write_bytes(expanded(path), text.encode())


def read(path: str | Path) -> Tuned:
    """The content of such a file. Raises FileError where there is none, or it holds something else."""
    path = expanded(path)
    try:
        told = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise FileError(
            f"cannot read '{path}': {reason}. Make such a file with `unnoise tune MODEL`."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _foreign(path) from error
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise _foreign(path)
    try:
        found = Tuned(*(told[name] for name in ("base", "ratios", "changes", "facts")))
    except (KeyError, InputError) as error:
        raise _foreign(path) from error
    numbers = (*found.ratios[1:], *(number for row in found.changes for number in row))
    whole = len(found.changes) == len(found.ratios) and all(map(math.isfinite, numbers))
    # A base that is a file could be this file.
    if not whole or not all(ratio > 0.0 for ratio in found.ratios) or found.base.startswith(PREFIX):
        raise _foreign(path)
    return found


def _foreign(path: Path) -> FileError:
    return FileError(
        f"'{path}' is not a tuned scheduler, or not whole; make one with `unnoise tune MODEL --out {path.name}`."
    )
