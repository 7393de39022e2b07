"""The noise schedule: how noise grows with time. A property of the model, not of the sampler."""

from __future__ import annotations

import abc
import math
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, shown
from unnoise.process.level import Level, Scalar, as_tensor, like

_ROUNDING = 1e-7  # float32's, of a number near 1


class NoiseSchedule(Declared, abc.ABC):
    """Time <-> (alpha, sigma, log-SNR), both ways, in float64.

    Subclasses are frozen dataclasses. They say where time begins and ends (`clean_time` is noise-free), their `kind`
    in configurations, and give the two maps on float64 tensors; everything else follows.
    """

    example = "process.EDM()"
    kind: ClassVar[str]

    @property
    def clean_time(self) -> float:
        """The time at which nothing is noise, level(clean_time).sigma == 0: here 0."""
        return 0.0

    @property
    @abc.abstractmethod
    def noisiest(self) -> Level:
        """The noisiest level that a network of this schedule is trained on."""

    @property
    @abc.abstractmethod
    def cleanest(self) -> Level:
        """The least noisy level that a network of this schedule is trained on; its sigma is positive."""

    @abc.abstractmethod
    def _signal_and_noise(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma at `time`, float64."""

    @abc.abstractmethod
    def _time(self, log_snr: Tensor) -> Tensor:
        """The inverse, float64; beyond the ends it answers with the nearest end."""

    def config(self) -> dict[str, Any]:
        """Plain values from which `unnoise.process.schedule_from_config` makes an equal schedule: kind and numbers."""
        fields: Any = self
        return {"kind": self.kind, **asdict(fields)}

    def level(self, time: Scalar) -> Level:
        """The level at `time`, a number or a tensor (batch,).

        Raises InputError where the time lies outside [clean_time, noisiest.time] or is not finite. A time that
        rounding to float32 has put beyond an end is that end.
        """
        given, low, high = as_tensor(time), self.clean_time, float(self.noisiest.time)
        times = given.clamp(low, high)
        if not bool(((given - times).abs() <= _ROUNDING * high).all()):
            raise InputError(
                f"time is {shown(time)}; this noise schedule runs from {low:g} (clean) to {high:g} (noisiest)."
            )
        alpha, sigma = self._signal_and_noise(times)
        return Level(like(times, time), like(alpha, time), like(sigma, time))

    def at_log_snr(self, log_snr: Scalar) -> Level:
        """The level with exactly this log(alpha^2 / sigma^2), -inf and inf included.

        Its time is the time of the schedule with that ratio, or the nearest end where the schedule does not
        reach it: alpha and sigma are then still as asked. Raises InputError for nan, and for -inf where there is
        always signal (`EDM`).
        """
        values = as_tensor(log_snr)
        if bool(values.isnan().any()):
            raise InputError("log_snr is not a number; give a real number, -inf or inf.")
        alpha, sigma = self._scaled(values)
        return Level(like(self._time(values), log_snr), like(alpha, log_snr), like(sigma, log_snr))

    def at_ratio(self, ratio: Scalar) -> Level:
        """The level with sigma / alpha = `ratio`, from 0 to inf; as `at_log_snr`, and raises likewise."""
        values = as_tensor(ratio)
        if not bool((values >= 0.0).all()):
            raise InputError(f"the noise-to-signal ratio is {shown(ratio)}; give a number from 0 to inf.")
        return self.at_log_snr(like(-2.0 * values.log(), ratio))

    def _scaled(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of a ratio in this process's units: here variance preserving, alpha^2 + sigma^2 = 1."""
        return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()

    def network_time(self, level: Level) -> Scalar:
        """What the network is told of the level; here the schedule's own time."""
        return level.time


def check_ends(least: str, start: float, most: str, end: float, limit: float = math.inf) -> None:
    """Refuse a cleanest and a noisiest level, named `least` and `most`, that are not 0 < start < end <= limit."""
    if not 0.0 < start < end <= limit:
        at_most = f" <= {limit:g}" if math.isfinite(limit) else ""
        raise InputError(f"{least} is {start:g} and {most} {end:g}; give 0 < {least} < {most}{at_most}.")
