"""Schedules given by a formula: cosine, EDM (variance exploding) and flow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import BelowOne, Positive
from unnoise.process.level import Level, Scalar, as_tensor, like
from unnoise.process.schedule import NoiseSchedule, check_ends


class Timed(NoiseSchedule):
    """A schedule whose networks are trained from time `start`, the cleanest, to time `end`, at most 1."""

    start: float
    end: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ends("start", self.start, "end", self.end, 1.0)

    @cached_property
    def noisiest(self) -> Level:
        """The level at time `end`."""
        return Level(self.end, *map(float, self._signal_and_noise(as_tensor(self.end))))

    @cached_property
    def cleanest(self) -> Level:
        """The level at time `start`."""
        return self.level(self.start)


@dataclass(frozen=True)
class Cosine(Timed):
    """Variance preserving, signal along a cosine, time in [0, 1] (Nichol & Dhariwal 2021, eq. 17, without steps).

    alpha = cos(angle) / cos(angle_0), angle = pi/2 (t + offset) / (1 + offset). At time 1 nothing is signal.

    offset: 0 for the plain cosine; 0.008 in the paper. start, end: times of the cleanest and noisiest level
    that a network is trained on and a sampler visits.
    """

    kind = "cosine"
    offset: BelowOne = 0.0
    start: float = 1e-3
    end: float = 1.0

    @property
    def _first_angle(self) -> float:
        return math.pi / 2 * self.offset / (1.0 + self.offset)

    def _signal_and_noise(self, time: Tensor) -> tuple[Tensor, Tensor]:
        # Sines of differences, not differences of squares: exact at both ends.
        first, scale = self._first_angle, math.pi / 2 / (1.0 + self.offset)
        alpha = torch.sin((1.0 - time) * scale) / math.cos(first)
        noise = torch.sin(time * scale) * torch.sin(time * scale + 2.0 * first)
        return alpha, noise.clamp(min=0.0).sqrt() / math.cos(first)

    def _time(self, log_snr: Tensor) -> Tensor:
        alpha, sigma = self._scaled(log_snr)
        sine = (sigma**2 + (alpha * math.sin(self._first_angle)) ** 2).sqrt()
        angle = torch.atan2(sine, alpha * math.cos(self._first_angle))
        time = angle * (1.0 + self.offset) / (math.pi / 2) - self.offset
        return time.clamp(0.0, self.end)


@dataclass(frozen=True)
class EDM(NoiseSchedule):
    """Variance exploding, x_t = x_0 + sigma eps, time = sigma (Karras et al. 2022).

    The network is told ln(sigma) / 4 (their c_noise). sigma_min, sigma_max: the levels that a network is
    trained on and a sampler visits.
    """

    kind = "edm"
    sigma_min: float = 0.002
    sigma_max: Positive = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ends("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

    @property
    def noisiest(self) -> Level:
        """sigma_max."""
        return Level(self.sigma_max, 1.0, self.sigma_max)

    @property
    def cleanest(self) -> Level:
        """sigma_min."""
        return Level(self.sigma_min, 1.0, self.sigma_min)

    def _signal_and_noise(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(time), time

    def _time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-0.5 * log_snr).clamp(max=self.sigma_max)

    def _scaled(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        if bool((log_snr == -math.inf).any()):
            raise InputError(
                "a variance-exploding level cannot be without signal; give a finite log_snr, or inf."
            )
        return torch.ones_like(log_snr), torch.exp(-0.5 * log_snr)

    def network_time(self, level: Level) -> Scalar:
        """ln(sigma) / 4."""
        return like(as_tensor(level.sigma).log() / 4.0, level.sigma)


@dataclass(frozen=True)
class Flow(Timed):
    """A straight line from data to noise: alpha = 1 - sigma, sigma in [0, 1] (Liu et al. 2023; Lipman et al. 2023).

    With a shift, time t in [0, 1] stands for sigma = shift t / (1 + (shift - 1) t), which spends more of the
    steps on noisy levels (Esser et al. 2024, eq. 23). The network is told sigma. start, end: times of the
    cleanest and noisiest level.
    """

    kind = "flow"
    shift: Positive = 1.0
    start: float = 1e-3
    end: float = 1.0

    def _signal_and_noise(self, time: Tensor) -> tuple[Tensor, Tensor]:
        whole = 1.0 + (self.shift - 1.0) * time
        return (1.0 - time) / whole, self.shift * time / whole

    def _time(self, log_snr: Tensor) -> Tensor:
        _, sigma = self._scaled(log_snr)
        return (sigma / (self.shift - (self.shift - 1.0) * sigma)).clamp(0.0, self.end)

    def _scaled(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(0.5 * log_snr), torch.sigmoid(-0.5 * log_snr)

    def network_time(self, level: Level) -> Scalar:
        """Sigma."""
        return level.sigma
