"""The discrete variational bound: prior + one KL divergence a step + the decoder (Ho et al. 2020, eq. 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.evaluation.decoder import Cdf, discretised_log_likelihood
from unnoise.evaluation.ends import ends
from unnoise.evaluation.pictures import spread
from unnoise.evaluation.result import Likelihood, summarise
from unnoise.evaluation.subject import Subject
from unnoise.limits import whole
from unnoise.process import EDM, Diffuser, DiscreteVP, Estimate, Gaussian, Level, NoiseSchedule, transition
from unnoise.process.level import as_tensor, line

_PILOT = 64  # steps at which a cheap estimate first looks, to learn where the cost is


@dataclass(frozen=True, eq=False)
class Chain:
    """Noise levels of the chain that the bound sums over, the cleanest first.

    levels: tensors of shape (steps,). clean: noise-free. floor: the posterior variance of the second step, which
    stands in for that of the first, 0, which has no logarithm (Nichol & Dhariwal 2021, sec. 3.1).
    """

    levels: Level
    clean: Level
    floor: float

    @classmethod
    def of(
        cls, schedule: NoiseSchedule, steps: int | Sequence[int] | None = None, bins: int | None = None
    ) -> Chain:
        """All steps of a discrete schedule, or a respaced chain of `steps` of them, or of these times.

        A respaced chain keeps the levels; its transitions follow from them. A schedule without steps gets
        `steps` levels, even in its own time (EDM's in log-SNR), from where the grey level, one of `bins`, is certain.
        Raises InputError where there is no such chain.
        """
        times = _times(schedule, steps, bins)
        levels = schedule.level(as_tensor(times))
        pair = [levels.rows(torch.tensor(place, device="cpu")) for place in (1, 0)]
        floor = float(transition(pair[0], pair[1]).small)
        return cls(levels, schedule.level(schedule.clean_time), floor)

    def __len__(self) -> int:
        return len(torch.as_tensor(self.levels.alpha))

    def pair(self, index: Tensor) -> tuple[Level, Level]:
        """Where the steps of these indices start, and where they lead: index 0 leads to the clean data."""
        parts = zip(_numbers(self.clean), _numbers(self.levels), strict=True)
        below = Level(*(torch.cat([clean.reshape(1), table]) for clean, table in parts))
        return self.levels.rows(index), below.rows(index)


def _numbers(level: Level) -> list[Tensor]:
    return [as_tensor(part) for part in (level.time, level.alpha, level.sigma)]


def _times(schedule: NoiseSchedule, steps: int | Sequence[int] | None, bins: int | None) -> list[float]:
    if isinstance(schedule, DiscreteVP):
        return _kept(schedule.steps, schedule.steps if steps is None else steps)
    if not isinstance(steps, int):
        raise InputError(
            f"the discrete bound needs a chain of steps, which a {schedule.config()['kind']} schedule has not; give "
            "steps=1000 to lay one over it, or method='vdm' or 'ode'."
        )
    whole("steps", steps, 2, 1_000_000, 100)
    cleanest, noisiest = ends(schedule, bins)[0], schedule.noisiest
    if isinstance(schedule, EDM):  # its time is sigma: even steps of that would all lie in the noise
        share = line(float(cleanest.log_snr), float(noisiest.log_snr), steps)
        places: list[float] = torch.as_tensor(schedule.at_log_snr(share).time, device="cpu").tolist()
    else:
        first, last = float(cleanest.time), float(noisiest.time)
        places = [first + (last - first) * place / (steps - 1) for place in range(steps)]
    return [*places[:-1], float(noisiest.time)]  # exactly: rounding may lead beyond the schedule


def _kept(most: int, steps: int | Sequence[int]) -> list[float]:
    if isinstance(steps, int):
        whole("steps", steps, 2, most, 100)
        return [float(round(place * (most - 1) / (steps - 1))) for place in range(steps)]
    kept = sorted(set(steps))
    if len(kept) < 2 or kept[0] < 0 or kept[-1] >= most:
        raise InputError(f"steps is {list(steps)[:5]}...; give at least two times from 0 to {most - 1}.")
    return [float(time) for time in kept]


def step_cost(
    diffuser: Diffuser,
    x0: Tensor,
    estimate: Estimate,
    to: Level,
    floor: float,
    bins: int | None = 256,
    cdf: Cdf = "exact",
) -> Tensor:
    """One term of the bound for each element, in nats; shaped as x0 (batch, ...).

    Where `to` has noise it is KL(q(x_to | x, x_0) || p(x_to | x)), where `to` is clean the decoder's cost
    -log p(x_0 | x): of the picture in `bins` grey levels, or of the density at x_0 where `bins` is None.
    estimate: the network's, at x and its level. floor: the variance of the step to clean data, see `Chain`.
    """
    x, level = estimate.x, estimate.level
    clean = torch.as_tensor(to.sigma, device="cpu") == 0.0  # asked where levels are: a GPU is not waited for
    last = torch.where(clean, floor, 0.0)  # the variances of the others have logarithms, and may be smaller
    model = diffuser.posterior(x, estimate, level, to, last)
    kl = diffuser.true_posterior(x, x0, level, to, last).kl(model)
    if not bool(clean.any()):
        return kl
    log = model.log_prob(x0) if bins is None else discretised_log_likelihood(x0, model, bins, cdf)
    return torch.where(clean.to(x.device).reshape(-1, *[1] * (x.dim() - 1)), -log, kl)


def prior_cost(x0: Tensor, level: Level) -> Tensor:
    """KL(q(x_T | x_0) || N(0, alpha^2 + sigma^2)) of each picture, nats per number: (batch, ...) -> (batch,).

    The prior is that of noised data of unit variance, from which samplers start.
    """
    alpha, sigma = float(level.alpha), float(level.sigma)
    given = Gaussian(alpha * x0, sigma**2)
    return given.kl(Gaussian(torch.zeros_like(x0), alpha**2 + sigma**2)).flatten(1).mean(1)


def discrete_bound(subject: Subject, chain: Chain, cdf: Cdf, calls: int | None) -> Likelihood:
    """The bound of every picture: all steps, or `calls` network calls a picture with steps drawn by importance."""
    count, steps = len(subject), len(chain)
    if calls is not None and calls < 2:
        raise InputError(f"calls is {calls}; give at least 2, one for the decoder and one for a step.")
    last, _ = chain.pair(torch.tensor([steps - 1], device="cpu"))
    every, bins = subject.every, subject.bins
    prior = prior_cost(subject.clean(every), last)
    profile: tuple[tuple[float, float], ...] = ()
    if calls is None or calls >= steps:
        index = torch.arange(steps, device="cpu").repeat(count)
        table = _costs(subject, chain, every.repeat_interleave(steps), index, cdf).reshape(count, steps)
        decoder, inner, used = table[:, 0], table[:, 1:].sum(1), float(steps)
        snr = torch.as_tensor(chain.levels.log_snr, device="cpu").tolist()
        profile = tuple(zip(snr, (table.mean(0) / math.log(2.0)).tolist(), strict=True))
    else:
        decoder = _costs(subject, chain, every, torch.zeros_like(every), cdf)
        inner, pilot = _drawn_steps(subject, chain, calls - 1)
        used = calls + pilot / count
    told = (
        f"{steps} steps, variance {type(subject.diffuser.variance).__name__}, clip {subject.diffuser.clip}",
        "decoder: " + ("density" if bins is None else f"{bins} grey levels, cdf {cdf}"),
        f"{used:.6g} network calls a picture" + ("" if profile else ", steps by importance"),
    )
    return summarise(
        {"prior": prior, "steps": inner, "decoder": decoder},
        calls=used,
        estimator="discrete bound",
        conventions=told,
        unit=subject.unit,
        profile=profile,
    )


def _costs(
    subject: Subject,
    chain: Chain,
    which: Tensor,
    index: Tensor,
    cdf: Cdf = "exact",
    draws: Sequence[int] | None = None,
) -> Tensor:
    """The terms of these pictures at these steps, nats per number: (rows,)."""
    costs = []
    numbers = index.tolist() if draws is None else list(draws)
    for part in subject.chunks(len(which)):
        rows, (level, to) = which[part], chain.pair(index[part])
        x0, _, estimate = subject.seen("step", rows, numbers[part], level)
        cost = step_cost(subject.diffuser, x0, estimate, to, chain.floor, subject.bins, cdf)
        costs.append(cost.flatten(1).mean(1))
    return torch.cat(costs)


def _drawn_steps(subject: Subject, chain: Chain, calls: int) -> tuple[Tensor, int]:
    """Sum over steps 1 .. of each picture from `calls` of them, and the rows that the pilot took.

    Systematic sampling: picture i takes the quantiles (j + offset_i) / calls of a density over the steps, and
    each cost is divided by its chance, so the sum is unbiased whatever the density. The offsets of the pictures
    are spread evenly too, which makes the error bar, reckoned as if they were independent, too wide if anything.
    """
    count, inner = len(subject), len(chain) - 1
    density, pilot = _density(subject, chain)
    start = randomness.uniform(subject.seed, "likelihood offset")
    offset = (start + torch.arange(count, dtype=torch.float64, device="cpu") / count) % 1.0
    quantile = (torch.arange(calls, dtype=torch.float64, device="cpu") + offset[:, None]) / calls
    edges = density.cumsum(0)
    index = torch.searchsorted(edges, quantile.flatten() * edges[-1]).clamp(max=inner - 1)
    draws = [1_000_000 + number for number in list(range(calls)) * count]  # apart from the pilot's
    which = subject.every.repeat_interleave(calls)
    costs = _costs(subject, chain, which, index + 1, draws=draws)
    return (costs / (calls * density[index])).reshape(count, calls).sum(1), pilot


def _density(subject: Subject, chain: Chain) -> tuple[Tensor, int]:
    """Chances of the steps 1 .., near sqrt(E[cost^2]), the best there is (Nichol & Dhariwal 2021, sec. 3.3)."""
    inner = len(chain) - 1
    looks, pictures = spread(inner, _PILOT), spread(len(subject), 4)
    which = torch.tensor(pictures, device="cpu").repeat_interleave(len(looks))
    index = torch.tensor(looks, device="cpu").repeat(len(pictures))
    costs = _costs(subject, chain, which, index + 1).reshape(len(pictures), len(looks))
    moment = costs.square().mean(0).sqrt().clamp(min=1e-300)
    cost = np.exp(np.interp(np.arange(inner), looks, moment.log().numpy()))
    density = torch.from_numpy(cost / cost.sum())
    return 0.8 * density + 0.2 / inner, len(which)
