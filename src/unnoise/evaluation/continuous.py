"""The continuous-time bound of variational diffusion models (Kingma et al. 2021), for any noise schedule."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.evaluation.bound import prior_cost
from unnoise.evaluation.decoder import nearest_level_log_likelihood
from unnoise.evaluation.ends import ends
from unnoise.evaluation.result import Likelihood, summarise
from unnoise.evaluation.subject import Subject
from unnoise.limits import choice, whole
from unnoise.process import Gaussian, Level
from unnoise.process.level import as_tensor, line

Strata = Literal["log_snr", "time"]


def continuous_bound(subject: Subject, calls: int, strata: Strata) -> Likelihood:
    """Prior + 1/2 integral of |eps - eps_hat|^2 over the log-SNR + the cost of the picture given its cleanest level.

    The integral depends on the schedule through its two ends only. calls: network calls a picture, each at a
    log-SNR from a stratum of its own. strata: even in log-SNR, or in the schedule's own time, which spends the
    calls where training did.
    """
    choice("strata", strata, get_args(Strata))
    whole("calls", calls, 1, example=128)
    bins = subject.bins
    cleanest, noisiest = ends(subject.diffuser.schedule, bins)
    x0 = subject.clean(subject.every)
    log_snr, width = _places(subject, cleanest, noisiest, calls, strata)
    squares = _squares(subject, log_snr)
    parts = {
        "prior": prior_cost(x0, noisiest),
        "diffusion": 0.5 * (squares * width).sum(1),
        "decoder": _decoder(subject, x0, cleanest),
    }
    told = (
        f"log-SNR from {float(cleanest.log_snr):.4g} to {float(noisiest.log_snr):.4g}, strata even in {strata}",
        f"clip {subject.diffuser.clip}",
        "decoder: " + ("density" if bins is None else f"{bins} grey levels by the cleanest level"),
    )
    return summarise(
        parts, calls=calls, estimator="continuous-time bound", conventions=told, unit=subject.unit
    )


def _places(
    subject: Subject, cleanest: Level, noisiest: Level, calls: int, strata: Strata
) -> tuple[Tensor, Tensor]:
    """Log-SNR of each look, (count, calls), and the widths of their strata in log-SNR, (calls,).

    The pictures' offsets within a stratum are spread evenly (their "low-discrepancy sampler", app. I.1).
    """
    if strata == "time":
        first, last = float(cleanest.time), float(noisiest.time)
        # rounding may lead beyond the schedule
        times = (first + (last - first) * line(0.0, 1.0, calls + 1)).clamp(max=last)
        edges = torch.as_tensor(subject.diffuser.schedule.level(times).log_snr, device="cpu")
        edges[0], edges[-1] = float(cleanest.log_snr), float(noisiest.log_snr)
    else:
        edges = line(float(cleanest.log_snr), float(noisiest.log_snr), calls + 1)
    width = edges[:-1] - edges[1:]
    drawn = [randomness.uniform(subject.seed, "likelihood time", stratum) for stratum in range(calls)]
    offset = (as_tensor(drawn) + subject.every.double()[:, None] / len(subject)) % 1.0
    return edges[:-1] - offset * width, width


def _squares(subject: Subject, log_snr: Tensor) -> Tensor:
    """Mean of (eps - eps_hat)^2 over the numbers of each picture at each look: (count, calls)."""
    count, calls = log_snr.shape
    which = subject.every.repeat_interleave(calls)
    numbers = list(range(calls)) * count
    squares = []
    for part in subject.chunks(count * calls):
        rows = which[part]
        level = subject.diffuser.schedule.at_log_snr(log_snr.flatten()[part])
        _, eps, estimate = subject.seen("time", rows, numbers[part], level)
        squares.append((estimate.noise - eps).square().flatten(1).mean(1))
    return torch.cat(squares).reshape(count, calls)


def _decoder(subject: Subject, x0: Tensor, level: Level) -> Tensor:
    """-log p(x_0 | x at the cleanest level) of each picture, nats per number; no network is asked."""
    eps = subject.noise("decoder", subject.every, [0] * len(x0))
    x = subject.diffuser.add_noise(x0, eps, level)
    if subject.bins is not None:
        log = nearest_level_log_likelihood(x0, x, level, subject.bins)
    else:
        alpha = float(level.alpha)
        log = Gaussian(x / alpha, (float(level.sigma) / alpha) ** 2).log_prob(x0)
    return -log.flatten(1).mean(1)
