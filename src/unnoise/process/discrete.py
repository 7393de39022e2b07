"""DDPM's schedule: a table of betas, one a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Steps, typed
from unnoise.process.level import Level, as_tensor, line
from unnoise.process.schedule import NoiseSchedule

Curve = Literal["linear", "scaled_linear", "cosine", "sigmoid", "table"]
CURVES: tuple[Curve, ...] = get_args(Curve)


@dataclass(frozen=True)
class DiscreteVP(NoiseSchedule):
    """Variance-preserving steps x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps (Ho et al. 2020, eq. 2).

    Time is the index t = 0 .. steps - 1 of the table, "t + 1 steps of noise"; -1 is clean data. Between the
    indices log-SNR is linear in time; where one end is infinite (below 0, and at a terminal SNR of zero) the
    angle atan(sigma / alpha) is linear instead, so that both ends are ordinary.

    Make one with `linear`, `scaled_linear`, `cosine`, `sigmoid` or `from_betas`.
    """

    kind = "discrete_vp"
    curve: Curve
    steps: Steps
    beta_start: float = 0.0
    beta_end: float = 0.0
    zero_terminal: bool = False
    table: tuple[float, ...] = ()
    clean_time = -1.0  # no step taken

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.curve == "table" and len(self.table) != self.steps:
            raise InputError(
                f"steps is {self.steps} and the table holds {len(self.table)} betas; give one a step."
            )
        if self.zero_terminal and self.steps < 2:
            raise InputError("a zero terminal SNR needs at least 2 steps; give steps=1000.")
        betas = self.plain_betas()
        if not bool(((betas > 0.0) & (betas < 1.0)).all()):
            ends = f"beta_start {self.beta_start:g}, beta_end {self.beta_end:g}"
            raise InputError(
                f"the betas of curve '{self.curve}' ({'table' if self.curve == 'table' else ends}) run from "
                f"{float(betas.min()):g} to {float(betas.max()):g}; each must lie strictly "
                "between 0 and 1, for example linear(1e-4, 0.02)."
            )

    @classmethod
    def linear(cls, beta_start: float = 1e-4, beta_end: float = 0.02, steps: int = 1000) -> DiscreteVP:
        """Betas linear in t (Ho et al. 2020)."""
        return cls("linear", steps, beta_start, beta_end)

    @classmethod
    def scaled_linear(
        cls, beta_start: float = 0.00085, beta_end: float = 0.012, steps: int = 1000
    ) -> DiscreteVP:
        """sqrt(beta) linear in t: latent diffusion; the defaults are Stable Diffusion's (Rombach et al. 2022)."""
        return cls("scaled_linear", steps, beta_start, beta_end)

    @classmethod
    def cosine(cls, steps: int = 1000) -> DiscreteVP:
        """Cumulative signal as a squared cosine, betas capped at 0.999 (Nichol & Dhariwal 2021, eq. 17)."""
        return cls("cosine", steps)

    @classmethod
    def sigmoid(cls, beta_start: float = 1e-4, beta_end: float = 0.02, steps: int = 1000) -> DiscreteVP:
        """Betas along a sigmoid over [-6, 6] (GeoDiff, Xu et al. 2022)."""
        return cls("sigmoid", steps, beta_start, beta_end)

    @classmethod
    def from_betas(cls, betas: tuple[float, ...]) -> DiscreteVP:
        """Any table of betas, each strictly between 0 and 1."""
        table = typed("betas", betas, tuple[float, ...], "1e-4,2e-2")
        return cls("table", len(table), table=table)

    def zero_terminal_snr(self) -> DiscreteVP:
        """The same curve shifted and scaled so that the last level holds no signal (Lin et al. 2024, alg. 1)."""
        return replace(self, zero_terminal=True)

    def plain_betas(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """(steps,) in this precision: the curve as it is, whatever its end."""
        start, end, steps = self.beta_start, self.beta_end, self.steps
        if self.curve == "linear":
            return line(start, end, steps, dtype)
        if self.curve == "scaled_linear":
            return line(math.sqrt(max(start, 0.0)), math.sqrt(max(end, 0.0)), steps, dtype) ** 2
        if self.curve == "sigmoid":
            return torch.sigmoid(line(-6.0, 6.0, steps, dtype)) * (end - start) + start
        if self.curve == "cosine":
            angle = (as_tensor(range(steps + 1)) / steps + 0.008) / 1.008 * (math.pi / 2)
            signal = angle.cos() ** 2
            return (1.0 - signal[1:] / signal[:-1]).clamp(max=0.999).to(dtype)
        return as_tensor(self.table).to(dtype)

    @cached_property
    def betas(self) -> Tensor:
        """(steps,) float64: the variance added by each step; the last is 1 at a terminal SNR of zero."""
        return ending_without_signal(self.plain_betas()) if self.zero_terminal else self.plain_betas()

    @cached_property
    def _log_snr_table(self) -> Tensor:
        """(steps + 1,) float64, entry t + 1 for time t; the first is inf.

        The noise variance is summed, v_t = beta_t + (1 - beta_t) v_{t-1}, because 1 - cumprod loses digits.
        """
        variance, variances = 0.0, []
        for beta in self.betas.tolist():
            variance = beta + (1.0 - beta) * variance
            variances.append(variance)
        log_signal = torch.log1p(-self.betas).cumsum(0)
        return torch.cat([as_tensor((math.inf,)), log_signal - as_tensor(variances).log()])

    @cached_property
    def noisiest(self) -> Level:
        """The level after all steps."""
        return Level(float(self.steps - 1), *map(float, self._scaled(self._log_snr_table[-1])))

    @cached_property
    def cleanest(self) -> Level:
        """The level after one step, time 0."""
        return Level(0.0, *map(float, self._scaled(self._log_snr_table[1])))

    def at_step(self, step: Tensor) -> Level:
        """The levels of whole times from 0 to steps - 1, (batch,) int64: as `level`, looked up."""
        alpha, sigma = self._steps
        return Level(step.double(), alpha[step], sigma[step])

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of each whole time, (steps,) float64."""
        return self._signal_and_noise(as_tensor(range(self.steps)))

    def _signal_and_noise(self, time: Tensor) -> tuple[Tensor, Tensor]:
        table = self._log_snr_table
        left = (time.floor() + 1).long().clamp(0, self.steps - 1)
        part = time + 1 - left
        before, after = table[left], table[left + 1]
        smooth = before.isfinite() & after.isfinite()
        alpha, sigma = self._scaled(before + part * torch.where(smooth, after - before, 0.0))
        angle = _angle(before) + part * (_angle(after) - _angle(before))
        cosine = torch.where(angle >= math.pi / 2, 0.0, angle.cos())  # exactly 0 at a right angle
        return torch.where(smooth, alpha, cosine), torch.where(smooth, sigma, angle.sin())

    def _time(self, log_snr: Tensor) -> Tensor:
        table = self._log_snr_table
        right = torch.searchsorted(-table, -log_snr.contiguous()).clamp(1, self.steps)
        before, after = table[right - 1], table[right]
        smooth = before.isfinite() & after.isfinite()
        straight = (before - log_snr) / torch.where(smooth, before - after, 1.0)
        turned = (_angle(log_snr) - _angle(before)) / (_angle(after) - _angle(before))
        return (right - 2) + torch.where(smooth, straight, turned).clamp(0.0, 1.0)

    def config(self) -> dict[str, Any]:
        """Kind, curve and its numbers."""
        plain: dict[str, Any] = {"kind": self.kind, "curve": self.curve, "steps": self.steps}
        if self.curve == "table":
            plain["table"] = list(self.table)
        elif self.curve != "cosine":
            plain |= {"beta_start": self.beta_start, "beta_end": self.beta_end}
        return plain | ({"zero_terminal": True} if self.zero_terminal else {})


def ending_without_signal(betas: Tensor) -> Tensor:
    """The betas after which no signal is left: alpha is shifted and scaled (Lin et al. 2024, alg. 1)."""
    root = torch.cumprod(1.0 - betas, 0).sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    signal = torch.cat([torch.ones_like(root[:1]), root**2])
    return 1.0 - signal[1:] / signal[:-1]


def _angle(log_snr: Tensor) -> Tensor:
    """atan(sigma / alpha) in [0, pi / 2]."""
    return torch.atan2(torch.sigmoid(-log_snr).sqrt(), torch.sigmoid(log_snr).sqrt())
