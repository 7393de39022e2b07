"""The levels of diffusers' classes: three families, which differ in rounding, in ends, and in what is interpolated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, Level, NoiseSchedule
from unnoise.schedulers.presets.path import Path, Process, Rungs, of_levels
from unnoise.schedulers.presets.tables import Numbers, Table, respaced, spaced, table

Sigmas = Literal["own", "karras", "exponential", "beta", "lu", "flow"]


def along(sigmas: Numbers, times: Numbers, kind: Process, single: bool = False) -> Path:
    """The path along float32 sigmas, in float32: ratios, or on a straight line the share of noise itself.

    single: whether the network's output is taken apart with float32 numbers too.
    """
    w = torch.from_numpy(np.asarray(sigmas).astype(np.float32))
    if kind == "flow":
        alpha, sigma = 1 - w, w
        w = sigma / alpha
    elif kind == "vp":
        alpha = 1 / (w**2 + 1) ** 0.5
        sigma = w * alpha
    else:
        alpha, sigma = torch.ones_like(w), w
    every = [*map(float, times), -1.0 if kind == "vp" else 0.0]
    if single:
        levels = tuple(Level(t, float(a), float(s)) for t, a, s in zip(every, alpha, sigma, strict=True))
    else:
        levels = tuple(_level(t, float(r), kind, float(s)) for t, r, s in zip(every, w, sigma, strict=True))
    return Path(levels, w, alpha, sigma, kind)


def _level(time: float, ratio: float, kind: Process, sigma: float) -> Level:
    if kind == "flow":
        return Level(time, 1.0 - sigma, sigma)
    alpha = 1.0 if kind == "ve" else 1.0 / float(np.hypot(1.0, ratio))
    return Level(time, alpha, alpha * ratio)


@dataclass(frozen=True)
class SigmaRungs(Rungs):
    """Euler, ancestral, Heun, DPM2, LMS: times are not rounded, karras runs between the ends of the spaced grid.

    final: "zero", or "sigma_min", the table's first sigma. whole: DPM2's classes round karras times.
    """

    spacing: str
    offset: int
    sigmas: Sigmas
    final: str
    whole: bool

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """Interpolated in sigma, float32."""
        known = table(schedule)
        times = spaced(self.spacing, known.steps, steps, self.offset, extra=False)
        times = times.astype(np.float32).astype(np.float64)
        sigmas = known.at_times(times)
        if self.sigmas != "own":
            sigmas = respaced(self.sigmas, float(sigmas[0]), float(sigmas[-1]), len(sigmas))
            times = np.array([known.time_at(sigma) for sigma in sigmas])
            times = times.round() if self.whole and self.sigmas == "karras" else times
        last = float(known.sigmas[0]) if self.final == "sigma_min" else 0.0
        path = along(np.append(sigmas, last), times, "vp")
        return replace(path, pure=self.spacing != "leading", time_at=known.time_at)


@dataclass(frozen=True)
class DPMRungs(Rungs):
    """DPM-Solver's, UniPC's, DEIS's classes: whole times, karras runs between the ends of the whole table.

    final: "zero"; "sigma_min", the table's first sigma; "last", the grid's own last one again where it is not a
    time grid (DEIS, and UniPC with sigma_min). clipped: the smallest ln(alpha / sigma). cosine: whether the betas are
    squaredcos_cap_v2, on which times are cut and not rounded.
    """

    spacing: str
    offset: int
    sigmas: Sigmas
    final: str
    clipped: float
    cosine: bool

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """Whole times where there are such, float32 sigmas."""
        known = table(schedule)
        logs = np.log(known.sigmas)
        kept = known.steps - int(np.searchsorted(-logs[::-1], self.clipped))
        if self.spacing == "trailing" and kept < known.steps:
            raise InputError(
                f"lambda_min_clipped is {self.clipped:g}; with timestep_spacing trailing diffusers then goes fewer "
                "steps than it is asked for. Set timestep_spacing linspace, or leave compat out."
            )
        times = spaced(self.spacing, kept, steps, self.offset, extra=True).round()
        sigmas = known.at_times(times)
        if self.sigmas != "own":
            ends = np.exp(logs.astype(np.float64)) if self.sigmas == "lu" else known.sigmas
            sigmas = respaced(self.sigmas, float(ends[-1]), float(ends[0]), steps)
            times = np.array([known.time_at(sigma) for sigma in sigmas])
            if self.sigmas in ("karras", "lu") and not self.cosine:
                times = times.round()
        last = 0.0 if self.final == "zero" else float(known.sigmas[0])
        if self.final == "last" and self.sigmas != "own":
            last = float(sigmas[-1])
        return along(np.append(sigmas, last), np.trunc(times), "vp", single=True)


@dataclass(frozen=True)
class DPMFlowRungs(Rungs):
    """The same classes on a straight line (use_flow_sigmas): equal shares of noise, shifted; times cut to thousandths.

    final: "zero"; "last", the last share again. gentle: UniPC's ways (they count down from 1, which is moved by 1e-6).
    """

    shift: float
    final: str
    gentle: bool

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """In float64, then float32."""
        if self.gentle:
            sigmas = np.linspace(1, 1 / 1000, steps + 1)[:-1]
        else:
            sigmas = np.flip(1.0 - np.linspace(1, 1 / 1000, steps + 1))[:-1]
        sigmas = self.shift * sigmas / (1 + (self.shift - 1) * sigmas)
        if self.gentle and abs(sigmas[0] - 1) < 1e-6:
            sigmas[0] -= 1e-6
        last = {"zero": 0.0, "last": float(sigmas[-1])}.get(self.final)
        if last is None:
            raise InputError(
                "flow sigmas end at zero, or at their own last one (DEIS); set final_sigmas_type zero."
            )
        return along(np.append(sigmas, last), np.trunc(sigmas * 1000) / 1000, "flow")


@dataclass(frozen=True)
class TableRungs(Rungs):
    """DDPM, DDIM, PNDM: rounded times of the table itself."""

    spacing: str
    offset: int

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """As `_of_entries`."""
        known = table(schedule, infinite=True)
        times = spaced(self.spacing, known.steps, steps, 0, extra=False).round()
        times += self.offset if self.spacing == "leading" else 0
        if times[0] >= known.steps:
            raise InputError(
                f"steps_offset is {self.offset}, by which {steps} steps begin at time {times[0]:g} of {known.steps}, "
                "an error in diffusers; give fewer steps, or leave compat out."
            )
        return _of_entries(known, times)


@dataclass(frozen=True)
class DistilledRungs(Rungs):
    """LCM, TCD: of `original` equally spaced times of the table every so many."""

    original: int

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """As `_of_entries`. Raises InputError for more steps than there are times."""
        known = table(schedule, infinite=True)
        if not steps <= self.original <= known.steps:
            raise InputError(
                f"steps is {steps}; such a model was distilled at {self.original} of {known.steps} times, give at most "
                "that."
            )
        times = (np.arange(1, self.original + 1) * (known.steps // self.original) - 1)[::-1]
        places = np.floor(np.linspace(0, self.original, num=steps, endpoint=False)).astype(np.int64)
        return _of_entries(known, times[places])


def _of_entries(known: Table, times: Numbers | NDArray[np.int64]) -> Path:
    """The table's entries at whole times: alphas and sigmas from the products, float32; the last level is clean."""
    entries = tuple(
        Level(float(time), float(abar**0.5), float((1 - abar) ** 0.5)) for time, abar in enumerate(known.abar)
    )
    levels = (*(entries[int(time)] for time in times), Level(-1.0, 1.0, 0.0))
    path = of_levels(levels, torch.float32, "vp")
    return replace(path, entries=entries, abar=known.abar)


def _ramp(start: float, end: float, count: int) -> Tensor:
    """Equal steps in float32, whatever torch's default is."""
    return torch.linspace(start, end, count, dtype=torch.float32)


@dataclass(frozen=True)
class FlowRungs(Rungs):
    """FlowMatchEuler's and FlowMatchHeun's levels: the shift is applied to the table and again to the grid."""

    shift: float
    sigmas: Sigmas

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """Times are sigmas."""
        total = 1000
        whole = _ramp(total, 1.0, total) / total
        whole = self.shift * whole / (1 + (self.shift - 1) * whole)
        sigmas = np.linspace(float(whole[0]) * total, float(whole[-1]) * total, steps) / total
        sigmas = self.shift * sigmas / (1 + (self.shift - 1) * sigmas)
        if self.sigmas != "own":
            sigmas = respaced(self.sigmas, float(sigmas[0]), float(sigmas[-1]), steps)
        sigmas = sigmas.astype(np.float32)
        return along(np.append(sigmas, 0.0), sigmas, "flow")


@dataclass(frozen=True)
class IPNDMRungs(Rungs):
    """IPNDMScheduler: sigma = sin^2 along a quarter turn, on a cosine schedule."""

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """In float32; times are angles, as shares of a quarter turn."""
        u = _ramp(1.0, 0.0, steps + 1)
        sigma = torch.sin(u * np.pi / 2) ** 2
        alpha = (1.0 - sigma**2) ** 0.5
        return _on_cosine(schedule, torch.atan2(sigma, alpha) / np.pi * 2, alpha, sigma)


@dataclass(frozen=True)
class AngleRungs(Rungs):
    """SCMScheduler: 1.5708 and 1.3 for two steps, else equal angles from 1.5708; time is the angle over pi / 2."""

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """In float32."""
        two = torch.tensor([1.5708, 1.3, 0.0], dtype=torch.float32)
        angles = two if steps == 2 else _ramp(1.5708, 0.0, steps + 1)
        return _on_cosine(schedule, angles / np.pi * 2, torch.cos(angles), torch.sin(angles))


def _on_cosine(schedule: NoiseSchedule, times: Tensor, alpha: Tensor, sigma: Tensor) -> Path:
    if not isinstance(schedule, Cosine):
        raise InputError("this preset needs a model on a cosine without steps; give Cosine().")
    levels = tuple(Level(*map(float, each)) for each in zip(times, alpha, sigma, strict=True))
    return Path(levels, sigma / alpha, alpha, sigma)


@dataclass(frozen=True)
class ConsistencyRungs(Rungs):
    """CMStochasticIterativeScheduler: every so many of the `original` levels of Karras's grid.

    rho: that grid's.
    """

    original: int
    rho: float

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """In float64, then float32; at the end the clean sample."""
        low, high = _edm_ends(schedule)
        if steps > self.original:
            raise InputError(f"steps is {steps}; such a model knows {self.original}, give at most that.")
        ramp = np.arange(steps) * (self.original // steps) / (self.original - 1)
        top, bottom = high ** (1 / self.rho), low ** (1 / self.rho)
        sigmas = np.asarray((top + ramp * (bottom - top)) ** self.rho, np.float64)
        return along(np.append(sigmas, 0.0), sigmas, "ve")


def _edm_ends(schedule: NoiseSchedule) -> tuple[float, float]:
    if not isinstance(schedule, EDM):
        raise InputError("this preset needs an EDM schedule; give EDM(sigma_min, sigma_max).")
    return schedule.sigma_min, schedule.sigma_max


@dataclass(frozen=True)
class EDMRungs(Rungs):
    """EDMEulerScheduler, EDMDPMSolverMultistepScheduler: karras or exponential between the ends of an EDM schedule.

    final: "zero", "sigma_min", or "last", the grid's own last one again.
    """

    sigmas: Sigmas
    final: str
    rho: float

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """In float32 throughout."""
        low, high = _edm_ends(schedule)
        if self.sigmas == "karras":
            top, bottom = high ** (1 / self.rho), low ** (1 / self.rho)
            sigmas = (top + _ramp(0.0, 1.0, steps) * (bottom - top)) ** self.rho
        else:
            sigmas = _ramp(np.log(low), np.log(high), steps).exp().flip(0)
        values = sigmas.double().numpy()
        last = {"zero": 0.0, "sigma_min": low, "last": float(values[-1])}[self.final]
        return along(np.append(values, last), values, "ve")
