"""The best variance of each step for a network that did not learn one, measured on pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.ends import ends
from unnoise.evaluation.subject import BATCH, Subject, keyed
from unnoise.limits import floats, typed
from unnoise.process import Diffuser, Level, Optimal
from unnoise.process.level import Factor, as_tensor, expand


def fitted_variance(
    diffuser: Diffuser,
    images: Tensor,
    *,
    conditioning: Mapping[str, Tensor] | None = None,
    looks: int = 48,
    seed: int = 0,
    batch: int = BATCH,
) -> Optimal:
    """The optimal variance rule with Var(x_0 | x_t) as one number a level: the mean squared error of x_0.

    It is what the analytic variance estimates (Bao et al. 2022, thm. 1), here from pictures: floats in [-1, 1], best
    training pictures, because a variance fitted to the pictures that it is judged by flatters. looks: levels, even in
    log-SNR, with the logarithm of the error linear between them.
    """
    typed("diffuser", diffuser, Diffuser, "unnoise.Diffuser(network, schedule)")
    floats("images", images)
    if len(images) == 0:
        raise InputError(f"images are of shape {list(images.shape)}; give at least one picture.")
    subject = Subject(diffuser, images, conditioning or {}, keyed(seed, images.shape[1:]), batch)
    cleanest, noisiest = ends(diffuser.schedule)
    places = np.linspace(float(noisiest.log_snr), float(cleanest.log_snr), looks)
    log_error = np.array([_log_error(subject, look, float(place)) for look, place in enumerate(places)])

    def x0_variance(x: Tensor, level: Level) -> Factor:
        log_snr = as_tensor(level.log_snr).reshape(-1)
        return expand(as_tensor(np.exp(np.interp(log_snr.numpy(), places, log_error))), x)

    return Optimal(x0_variance)


def _log_error(subject: Subject, look: int, log_snr: float) -> float:
    level = subject.diffuser.schedule.at_log_snr(log_snr)
    total = 0.0
    for part in subject.chunks(len(subject)):
        which = subject.every[part]
        x0, _, estimate = subject.seen("variance", which, [look] * len(which), level)
        total += float((estimate.x0 - x0).square().flatten(1).mean(1).sum())
    return float(np.log(total / len(subject)))
