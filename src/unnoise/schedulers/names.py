"""The names people know, each resolved to its parts."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from unnoise.errors import InputError
from unnoise.schedulers import solvers
from unnoise.schedulers.grids import Exponential, Grid, Karras, Leading, Linspace, Trailing
from unnoise.schedulers.noise import SDE, Ancestral, Posterior
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.solvers import Adams


@dataclass(frozen=True)
class Named:
    """A scheduler with the name shown for it, other spellings, and a line that says what it is."""

    name: str
    scheduler: Scheduler
    spellings: tuple[str, ...]
    about: str


_TABLE = (
    Named(
        "DDPM", Scheduler(Trailing(), Adams(1), Posterior("learned_range")), (), "the posterior, step by step"
    ),
    Named("DDIM", Scheduler(Trailing(), Adams(1)), (), "the posterior's mean without its noise"),
    Named(
        "Euler",
        Scheduler(Linspace(), Adams(1, "sigma", "noise")),
        ("k_euler",),
        "the straight line of the ODE",
    ),
    Named(
        "Euler a",
        Scheduler(Linspace(), Adams(1, "sigma", "noise"), Ancestral()),
        ("euler_ancestral", "k_euler_a", "euler_a"),
        "Euler with the posterior's noise",
    ),
    Named(
        "LMS", Scheduler(Linspace(), Adams(4, "sigma", "noise")), ("k_lms", "lms_discrete"), "Adams in sigma"
    ),
    Named("Heun", Scheduler(Linspace(), solvers.Heun()), ("k_heun",), "Euler, corrected by a second look"),
    Named("DPM2", Scheduler(Linspace(), solvers.Midpoint()), ("dpm_2", "k_dpm_2"), "midpoint in lambda"),
    Named(
        "DPM2 a",
        Scheduler(Linspace(), solvers.Midpoint(), Ancestral()),
        ("dpm_2_ancestral", "k_dpm_2_a"),
        "midpoint in lambda with the posterior's noise",
    ),
    Named(
        "DPM++ 2M",
        Scheduler(Linspace(), Adams(2, "lambda", "x0", "midpoint")),
        ("dpmpp_2m", "k_dpmpp_2m", "dpm++2m"),
        "two estimates of x0, in lambda",
    ),
    Named(
        "DPM++ 2M SDE",
        Scheduler(Linspace(), Adams(2, "lambda", "x0", "midpoint"), SDE()),
        ("dpmpp_2m_sde", "k_dpmpp_2m_sde", "dpm++2m_sde"),
        "DPM++ 2M along the reverse SDE",
    ),
    Named(
        "DPM++ 2S a",
        Scheduler(Linspace(), solvers.TwoStage(), Ancestral()),
        ("dpmpp_2s_ancestral", "k_dpmpp_2s_a", "dpm++2s_a"),
        "midpoint in lambda in terms of x0, with the posterior's noise",
    ),
    Named("DEIS", Scheduler(Trailing(), Adams(3, "lambda", "noise")), (), "three noise residuals, in lambda"),
    Named("AB4", Scheduler(Trailing(), Adams(4, "lambda", "noise")), (), "four noise residuals, in lambda"),
)

_GRIDS: dict[str, Grid] = {
    "Karras": Karras(),
    "Exponential": Exponential(),
    "Trailing": Trailing(),
    "Leading": Leading(),
    "Linspace": Linspace(),
}


def table() -> tuple[Named, ...]:
    """All named schedulers, in the order of a gentle explanation."""
    return _TABLE


def grid_names() -> tuple[str, ...]:
    """The grids that may follow a name, as in "DPM++ 2M Karras"."""
    return tuple(_GRIDS)


def get(name: str | Scheduler) -> Scheduler:
    """The scheduler of this name, such as "LMS", "euler_ancestral" or "DPM++ 2M Karras".

    Capitals, spaces and underscores do not matter. A Scheduler is returned as it is.
    Raises InputError with the three nearest names.
    """
    if isinstance(name, Scheduler):
        return name
    known = {_plain(spelling): row.scheduler for row in _TABLE for spelling in (row.name, *row.spellings)}
    plain = _plain(name)
    if plain in known:
        return known[plain]
    for label, grid in _GRIDS.items():
        stem = plain.removesuffix(_plain(label))
        if stem != plain and stem in known:
            return replace(known[stem], grid=grid)
    raise InputError(f"scheduler {name!r} is not known; the nearest are {', '.join(_nearest(plain))}.")


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name.strip().lower()).replace("++", "pp")


def _nearest(plain: str) -> list[str]:
    shown = {_plain(row.name): row.name for row in _TABLE}
    shown |= {
        _plain(f"{row.name} {grid}"): f"{row.name} {grid}"
        for row in _TABLE
        for grid in ("Karras", "Exponential")
    }
    return [shown[close] for close in difflib.get_close_matches(plain, shown, n=3, cutoff=0.0)]
