"""From a name, or another library's configuration, to parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from unnoise.errors import InputError
from unnoise.limits import shown
from unnoise.schedulers import solvers, tuned
from unnoise.schedulers.grids import Grid
from unnoise.schedulers.moves import Unknown
from unnoise.schedulers.names import words
from unnoise.schedulers.names.programs import preset
from unnoise.schedulers.names.rows import TABLE, Named
from unnoise.schedulers.noise import SDE, Ancestral, NoiseRule, Posterior, Renoise
from unnoise.schedulers.presets.classes import ALIASES, CLASSES
from unnoise.schedulers.presets.config import Resolved, completed, resolve
from unnoise.schedulers.quadrature import Quadrature
from unnoise.schedulers.restart import Restart, Travel
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.solvers import Adams, Solver
from unnoise.schedulers.solvers.base import check_order


def table() -> tuple[Named, ...]:
    """All named schedulers, in the order of a gentle explanation."""
    return TABLE


def grid_names() -> tuple[str, ...]:
    """The grids that may follow a name, as in "DPM++ 2M Karras"."""
    return tuple(words.GRIDS)


def get(name: str | Scheduler, compat: str | None = None, grid: str | Grid | None = None) -> Scheduler:
    """The scheduler of this name, such as "LMS", "euler_ancestral", "DPM++ 2M Karras" or "k_dpmpp_2m_ka".

    Capitals, spaces and underscores do not matter. A Scheduler is returned as it is. "tuned:FILE" is what
    `unnoise tune` saved.
    grid: the grid, where it is given apart from the name ("karras"); "automatic" is the sampler's own.
    compat: "diffusers", "k-diffusion", "a1111" or "comfyui" for the values of that program, where they differ.

    Raises InputError with the three nearest names, or where a program has no such sampler, FileError for a file
    that holds no tuned scheduler.
    """
    if isinstance(name, Scheduler):
        return name
    if not isinstance(name, str):
        raise InputError(
            f"scheduler is {shown(name)}; give a name such as 'DPM++ 2M Karras', or a Scheduler."
        )
    if name.startswith(tuned.PREFIX):
        if compat is not None or grid is not None:
            asked = "grid" if compat is None else "compat"
            raise InputError(f"scheduler {name!r} has its own levels and factors; leave {asked} out.")
        kept = tuned.read(name.removeprefix(tuned.PREFIX))
        return kept.on(get(kept.base))
    row, own = _find(words.plain(name), name)
    if grid is not None and not (isinstance(grid, str) and words.plain(grid) in words.AUTOMATIC):
        own = words.grid(grid)
    if compat is not None:
        return preset(row, own, compat, words.plain(name))
    return row.scheduler if own is None else _on(row.scheduler, own)


def from_config(config: Mapping[str, Any], compat: str | None = None) -> Resolved:
    """What a diffusers scheduler_config.json means: (scheduler, noise schedule, prediction).

    config: its content, with "_class_name". compat: "diffusers" for that library's values, else the right ones.
    Raises InputError for a class or a value that is not known.
    """
    if compat not in (None, "diffusers"):
        raise InputError(
            f"compat is {shown(compat)}; a diffusers configuration has the values of diffusers, or none."
        )
    name, full = completed(config, compat is not None)
    row = _by_name()[words.plain(CLASSES[name].method)]
    return resolve(name, full, _settings(name, full, row.scheduler), compat is not None)


def _settings(name: str, config: Mapping[str, Any], near: Scheduler) -> Scheduler:
    """The right scheduler with a configuration's order, kind and strength of noise."""
    order = config.get("solver_order", 2)
    unknown: Unknown
    if name == "UniPCMultistepScheduler":
        unknown = "x0" if config["predict_x0"] else "noise"
        return replace(near, solver=solvers.unipc(order, unknown, config["solver_type"]))
    if name == "SASolverScheduler":
        return replace(near, solver=solvers.sa_solver(config["predictor_order"], config["corrector_order"]))
    if name == "DEISMultistepScheduler":
        return replace(near, solver=Adams(order, "lambda", "noise"))
    if name.endswith(("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")):
        sde = config["algorithm_type"].startswith("sde")
        data = sde or config["algorithm_type"].endswith("++")
        rule: Quadrature = "midpoint" if config["solver_type"] == "midpoint" and order == 2 else "exact"
        unknown = "x0" if data else "noise"
        solver = _single(order, data) if "Single" in name else Adams(order, "lambda", unknown, rule)
        return replace(near, solver=solver, noise=SDE() if sde else near.noise)
    return replace(near, noise=_noise(name, config, near.noise))


def _noise(name: str, config: Mapping[str, Any], usual: NoiseRule) -> NoiseRule:
    """The noise rule of a configuration of a class whose solver has no settings."""
    if name == "DDPMScheduler":
        return Posterior(config["variance_type"].removesuffix("_log"))
    if name == "DDIMScheduler" and config.get("eta"):
        return Ancestral(config["eta"])
    return Renoise() if config.get("stochastic_sampling") else usual


def _single(order: int, data: bool) -> Solver:
    """DPM-Solver's step of this order in terms of x0 (`data`), or of the noise."""
    check_order("the single-step DPM-Solver", order, 3)
    stages = (solvers.TwoStage, solvers.ThreeStageX0) if data else (solvers.Midpoint, solvers.ThreeStage)
    return Adams(1) if order == 1 else stages[order - 2]()


def _on(scheduler: Scheduler, grid: Grid) -> Scheduler:
    """The scheduler on another grid; one that goes up again goes up on it too."""
    if isinstance(scheduler.grid, Restart) and not isinstance(grid, Travel):
        grid = replace(scheduler.grid, grid=grid)
    return replace(scheduler, grid=grid)


@lru_cache(maxsize=4096)
def _find(plain: str, given: str) -> tuple[Named, Grid | None]:
    row = _row(plain)
    if row is not None:
        return row, None
    for stem, grid in words.endings(plain):
        row = _row(stem)
        if row is not None:
            return row, grid
    shown = [row.name + grid for grid in ("", " Karras", " Exponential") for row in TABLE]
    close = words.nearest(plain, {words.plain(name): name for name in shown})
    raise InputError(f"scheduler {given[:80]!r} is not known; the nearest are {', '.join(close)}.")


def _row(plain: str) -> Named | None:
    """The row of a plain name, perhaps with the k_ or the _gpu of k-diffusion's front ends, or a class's last word."""
    known = _by_name()
    tried = (plain, plain.removesuffix("scheduler"), plain.removeprefix("k").removesuffix("gpu"))
    return next((known[word] for word in tried if word in known), None)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Named]:
    """Rows under every spelling, diffusers' class names among them."""
    rows = {words.plain(word): row for row in TABLE for word in (row.name, *row.spellings)}
    shown = {row.name: row for row in TABLE}
    methods = {cls: known.method for cls, known in CLASSES.items()}
    methods |= {alias: methods[cls] for alias, cls in ALIASES.items()}
    methods |= {"UniPCMultistepScheduler": "UniPC bh2"}
    for cls, method in methods.items():
        if method in shown:
            rows.setdefault(words.plain(cls), shown[method])
            rows.setdefault(words.plain(cls.removesuffix("Scheduler")), shown[method])
    return rows
