"""What is minimised: squared errors in the space of the prediction, and the variational bound.

Every function gives one number a sample, so that a batch may be computed in any parts and averaged once.
"""

from __future__ import annotations

import math

from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.bound import step_cost
from unnoise.process import Diffuser, DiscreteVP, Estimate, NoiseSchedule, transition
from unnoise.process.level import as_tensor


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each sample: (batch, ...) -> (batch,), float32 (L_simple of Ho et al. 2020)."""
    return (output.float() - target.float()).square().flatten(1).mean(1)


def bound_term(diffuser: Diffuser, x0: Tensor, x: Tensor, estimate: Estimate, bins: int = 256) -> Tensor:
    """One term of the variational bound for each sample, in bits per element: (batch,).

    At time t > 0 it is KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), at t = 0 the cost -log2 p(x_0 | x_1) of
    the picture in `bins` grey levels (Ho et al. 2020, eq. 5). The mean is detached, so that only the variance
    learns from it (Nichol & Dhariwal 2021, sec. 3.1).

    x0, x: (batch, ...). estimate: the network's, at x; its level has whole times of a discrete schedule.
    Raises InputError for a schedule without steps.
    """
    schedule, level = diffuser.schedule, estimate.level
    chain_length(schedule)
    to = schedule.level(as_tensor(level.time).reshape(-1) - 1.0)
    variance = None if estimate.variance is None else estimate.variance.float()
    still = Estimate(x, level, estimate.output.detach().float(), diffuser.prediction, variance)
    cost = step_cost(diffuser, x0, still, to, smallest_variance(schedule), bins)
    return cost.flatten(1).mean(1) / math.log(2.0)


def chain_length(schedule: NoiseSchedule) -> int:
    """Number of steps that the variational bound sums over. Raises InputError for a schedule without steps."""
    if not isinstance(schedule, DiscreteVP) or schedule.steps < 2:
        raise InputError("a learned variance needs a discrete schedule; set model.schedule.kind=discrete_vp.")
    return schedule.steps


def smallest_variance(schedule: NoiseSchedule) -> float:
    """beta-tilde of the second step: stands in for that of the first, which is 0 and has no logarithm."""
    return float(transition(schedule.level(1.0), schedule.level(0.0)).small)
