"""Grids placed in the ratio sigma / alpha, "sigmas": formulas between a largest and a smallest one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from unnoise.errors import InputError
from unnoise.limits import Between, Finite, Positive
from unnoise.process import Flow, Level, NoiseSchedule
from unnoise.schedulers.grids.base import Grid, at_ratios, between, ratio_ends
from unnoise.schedulers.grids.beta import beta_quantile


@dataclass(frozen=True)
class Karras(Grid):
    """Equal steps in ratio^(1 / rho), ratio = sigma / alpha (Karras et al. 2022, eq. 5).

    sigma_min, sigma_max: ends of the ratio; by default the schedule's own, and 80 where that begins without
    signal, or a table with less than can be seen.
    """

    rho: Positive = 7.0
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        start, end = high ** (1.0 / self.rho), low ** (1.0 / self.rho)
        return at_ratios(schedule, [between(start, end, i, count) ** self.rho for i in range(count)])


@dataclass(frozen=True)
class Exponential(Grid):
    """Equal steps in log-SNR; the ends as for Karras."""

    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        return at_ratios(
            schedule, [math.exp(between(math.log(high), math.log(low), i, count)) for i in range(count)]
        )


def block_sizes(looks: int) -> list[int]:
    """Looks of each block of DPM-Solver-fast: threes, and at the end two and one, or what is left over."""
    threes, rest = divmod(looks, 3)
    if rest:
        return [3] * threes + [rest]
    return [3] * (threes - 1) + [2, 1] if threes else []


@dataclass(frozen=True)
class BlockLevels(Grid):
    """Blocks of equal steps in log-SNR, each of three looks at equal distances (DPM-Solver-fast; Lu et al. 2022a).

    The last blocks have two looks, one, or both. It ends at the cleanest level, where the jump to clean data begins.
    """

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, None, None)
        sizes = block_sizes(count - 1)
        shares = [(i + k / size) / len(sizes) for i, size in enumerate(sizes) for k in range(size)]
        return at_ratios(
            schedule, [high * (low / high) ** share for share in (*shares, 1.0)] if sizes else [high]
        )


@dataclass(frozen=True)
class Polyexponential(Grid):
    """Log-ratios along a power of the step (k-diffusion): rho 1 is Exponential, more is denser near the clean end."""

    rho: Positive = 1.0
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Ln ratio = ln min + (1 - i / (count - 1))^rho ln(max / min)."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        ramp = [between(1.0, 0.0, i, count) ** self.rho for i in range(count)]
        return at_ratios(schedule, [low * (high / low) ** part for part in ramp])


@dataclass(frozen=True)
class KLOptimal(Grid):
    """Equal steps in atan(ratio) (Sabour et al. 2024, sec. 3.1: optimal for Gaussian data of unit variance)."""

    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        start, end = math.atan(high), math.atan(low)
        return at_ratios(schedule, [math.tan(between(start, end, i, count)) for i in range(count)])


@dataclass(frozen=True)
class Arcsinh(Grid):
    """Equal steps in asinh((ln ratio - centre) / width), ratio = sigma / alpha.

    The steps in log-SNR are smallest at the centre and grow with the distance to it. Where the ratio is far
    above or below the data's own scales, little happens: the denoiser answers with the mean, or with x itself.
    Chosen on mixtures of normals of unit variance and of half of it, where with Adams' method in velocity and
    angle it needs about half the steps of Karras's grid for the same error.
    """

    centre: Finite = -0.5
    width: Positive = 1.0
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        start, end = (math.asinh((math.log(ratio) - self.centre) / self.width) for ratio in (high, low))
        inner = [
            math.exp(self.centre + self.width * math.sinh(between(start, end, i, count)))
            for i in range(1, count - 1)
        ]
        return at_ratios(schedule, (high, *inner, low)[:count])


@dataclass(frozen=True)
class BetaSigma(Grid):
    """Ratios at equal probabilities of a beta distribution: what diffusers calls "beta" (ComfyUI's is `BetaTime`).

    Ratio = min + (max - min) F^-1(1 - i / (count - 1)).
    """

    alpha: Positive = 0.6
    beta: Positive = 0.6
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        shares = [beta_quantile(between(1.0, 0.0, i, count), self.alpha, self.beta) for i in range(count)]
        return at_ratios(schedule, [low + (high - low) * share for share in shares])


@dataclass(frozen=True)
class Laplace(Grid):
    """Log-ratios at equal probabilities of a Laplace distribution, inside the ends (Hang et al. 2024; ComfyUI).

    Ln ratio = mu - spread sign(1/2 - x) ln(1 - 2 |1/2 - x| + 1e-5), x = i / (count - 1).
    """

    mu: Finite = 0.0
    spread: Positive = 0.5
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels. Raises InputError where more than one falls beyond an end."""
        low, high = ratio_ends(schedule, self.sigma_min, self.sigma_max)
        values = []
        for i in range(count):
            away = 0.5 - between(0.0, 1.0, i, count)
            fall = math.copysign(self.spread, away) * math.log(1.0 - 2.0 * abs(away) + 1e-5) if away else 0.0
            values.append(min(max(math.exp(self.mu - fall), low), high))
        if len(set(values)) < count:
            raise InputError(
                f"{count} Laplace levels do not fit between {low:g} and {high:g}; use fewer, or a smaller spread."
            )
        return at_ratios(schedule, values)


@dataclass(frozen=True)
class LogitNormal(Grid):
    """Log-ratios at equal probabilities of a normal distribution: flow times of a logit-normal one (Ideogram 4).

    Ln ratio = mean + spread F^-1(1 - i / count), F the normal distribution function; the first, which is infinite, is
    `top`, or the schedule's noisiest level where that is lower.
    """

    mean: Finite = 0.0
    spread: Positive = 1.5
    top: Finite = 9.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels. Raises InputError where more than one lies beyond the noisiest."""
        quantile = NormalDist(self.mean, self.spread).inv_cdf
        logs = [self.top, *(quantile(1.0 - i / count) for i in range(1, count))]
        high = float(schedule.noisiest.ratio)
        ratios = [min(math.exp(min(log, self.top)), high) for log in logs]
        if len(set(ratios)) < count:
            raise InputError(
                f"{count} logit-normal levels do not fit below ratio {high:g}; use fewer, or a smaller spread."
            )
        return at_ratios(schedule, ratios)


@dataclass(frozen=True)
class LinearQuadratic(Grid):
    """Half of the steps small and equal at the noisy end, then quadratic to clean data (Polyak et al. 2024; ComfyUI).

    With s falling from 1 to 0 a flow schedule is at sigma = s, others at ratio = s max. threshold: the share of
    noise gone after the equal steps.
    """

    threshold: Between = 0.025

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels; the next would be clean."""
        equal = max(count // 2, 1)
        rest = count - equal
        gone = [i * self.threshold / equal for i in range(equal)]
        if rest:
            steep = (equal - self.threshold * count) / (equal * rest**2)
            slope = self.threshold / equal - 2.0 * equal * steep
            gone += [steep * (i * i + equal * equal) + slope * i for i in range(equal, count)]
        return at_shares(schedule, [1.0 - part for part in gone])


@dataclass(frozen=True)
class BongTangent(Grid):
    """Two arcs of a tangent, meeting in the middle (ClownsharkBatwing's RES4LYF; stable-diffusion.cpp).

    With s falling from 1 to 0 a flow schedule is at sigma = s, others at ratio = s max. pivot: where each arc is
    steepest. slope: how steep.
    """

    pivot: Between = 0.6
    slope: Positive = 0.2

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels; the next would be clean."""
        if count == 1:
            return at_shares(schedule, [1.0])
        steps = count + 2
        first = max(int(steps * self.pivot), 2)  # an arc has two ends
        slope = self.slope * 40.0 / steps
        upper = _arc(first, slope, first, 1.0, 0.5)
        lower = _arc(steps - first, slope, 0, 0.5, 0.0)
        return at_shares(schedule, [*upper[:-1], *lower][:count])


def _arc(points: int, slope: float, pivot: int, start: float, end: float) -> list[float]:
    values = [-math.atan(slope * (i - pivot)) for i in range(points)]
    top, bottom = values[0], values[-1]
    if points < 2:
        return [start] * points
    return [end + (start - end) * (value - bottom) / (top - bottom) for value in values]


def at_shares(schedule: NoiseSchedule, shares: list[float]) -> tuple[Level, ...]:
    """Levels at these shares of the noisiest: of sigma on a flow schedule, of the ratio elsewhere."""
    if isinstance(schedule, Flow):
        top = float(schedule.noisiest.sigma)
        return tuple(
            schedule.noisiest if share == 1.0 else schedule.at_ratio(share * top / (1.0 - share * top))
            for share in shares
        )
    _, high = ratio_ends(schedule, None, None)
    return at_ratios(schedule, [share * high for share in shares])
