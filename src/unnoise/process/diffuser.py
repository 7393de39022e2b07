"""The diffuser: adds noise, and with a network's help removes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Amount, counted, floats, number, shown, typed
from unnoise.process.estimate import Estimate
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level, Scalar, combine, expand
from unnoise.process.posterior import LearnedRange, PosteriorVariance, transition, variance_rule
from unnoise.process.prediction import Prediction
from unnoise.process.prediction import get as get_prediction
from unnoise.process.schedule import NoiseSchedule


class Diffuser:
    """A network together with what its output means and how noise grows.

    network: any callable (x, time, **conditioning) -> Tensor, or an object with a Tensor `sample`, and with one
    named `without` where the half of guidance without the prompt is kept; x is
    (batch, channels, height, width), time (batch,) float32, the output shaped as x (with twice the channels
    where the variance is learned). schedule: the levels it was trained on. prediction: one of "noise",
    "sample", "velocity", "flow", "edm", "score", or a Prediction. variance: "fixed_small", "fixed_large",
    "learned_range", or a PosteriorVariance. clip: bound on the predicted clean sample, for instance 1.0 for
    pictures in [-1, 1]; None leaves it alone.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        schedule: NoiseSchedule,
        prediction: str | Prediction = "noise",
        variance: str | PosteriorVariance = "fixed_small",
        clip: float | None = None,
    ) -> None:
        if not isinstance(schedule, NoiseSchedule):
            raise InputError(f"schedule is {shown(schedule)}; give one such as DiscreteVP.linear().")
        self.network = typed("network", network, Callable)
        self.schedule = schedule
        self.prediction = get_prediction(prediction)
        self.variance = variance_rule(variance)
        self.clip = None if clip is None else number("clip", clip, 0.0, example=1, without="low")
        if self.prediction.needs_signal and schedule.noisiest.alpha == 0.0:
            raise InputError(
                f"{self.prediction.name} prediction cannot serve a schedule that ends without signal "
                "(zero terminal SNR); use velocity, flow or sample prediction, or a schedule that ends earlier."
            )

    def add_noise(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        """x_t = alpha x_0 + sigma eps, a draw from q(x_t | x_0) (Ho et al. 2020, eq. 4).

        x0, eps: (batch, ...). level: one for all, or one a sample. Returns the same shape and dtype.

        Raises InputError where they are no floats of one shape, or there are levels of another number of samples.
        """
        floats("x0", x0)
        floats("eps", eps, x0.shape)
        _check_level(level, x0)
        return combine(x0, expand(level.alpha, x0), eps, expand(level.sigma, x0))

    def estimate(self, x: Tensor, level: Level, **conditioning: object) -> Estimate:
        """Ask the network once what it sees in x (batch, ...) at `level`.

        Raises InputError where its answer is no Tensor, or of another shape than the variance asks for, x is no Tensor
        of floats, or there are levels of another number of samples.
        """
        floats("x", x)
        _check_level(level, x)
        time = torch.as_tensor(self.schedule.network_time(level), dtype=torch.float32, device="cpu").to(
            x.device
        )
        scale = expand(self.prediction.input_scale(level), x)
        scaled = x if isinstance(scale, float) and scale == 1.0 else x * scale
        output = self.network(scaled, time.expand(x.shape[0]), **conditioning)
        estimate = self.interpret(getattr(output, "sample", output), x, level)
        without = getattr(output, "without", None)
        if without is not None:
            estimate.half = self.interpret(without, x, level)
        return estimate

    def interpret(self, output: Tensor, x: Tensor, level: Level) -> Estimate:
        """The estimate that a given network output at x means; splits off a learned variance.

        Raises InputError where it is no Tensor, or its shape does not fit the variance.
        """
        floats("x", x)
        if not isinstance(output, Tensor):
            raise InputError(
                f"the network gave a {type(output).__name__}; let it return a Tensor, or an object with one "
                "named sample."
            )
        output = output.to(torch.promote_types(output.dtype, x.dtype))  # half precision may answer float32
        variance, learned = None, isinstance(self.variance, LearnedRange)
        needed = tuple(x.shape[1:])
        if learned:
            needed = (2 * needed[0], *needed[1:])
        if output.shape[1:] != needed:
            raise InputError(
                f"a {'learned' if learned else 'fixed'} variance needs outputs of shape {needed} for samples of "
                f"{tuple(x.shape[1:])}; the network gave {tuple(output.shape[1:])}. Give variance='learned_range' for "
                "twice the channels, a fixed one else."
            )
        if len(output) != len(x):
            raise InputError(
                f"the network gave {counted(len(output), 'sample')} for {len(x)}; let it answer each with one."
            )
        if learned:
            output, variance = output.chunk(2, dim=1)
        return Estimate(x, level, output, self.prediction, variance, self.clip)

    def posterior(
        self, x: Tensor, estimate: Estimate, level: Level, to: Level, floor: Scalar = 0.0
    ) -> Gaussian:
        """The reverse step p(x_to | x), with the posterior mean of Ho et al. 2020, eq. 7, at the estimated x_0.

        x, and the mean: (batch, ...). `to` is less noisy than `level`. floor: the smallest posterior variance;
        a chain whose last step leads to clean data passes its first positive one, because the true variance
        of that step is 0 and has no logarithm (Nichol & Dhariwal 2021, sec. 3.1).

        Raises InputError where x and what was estimated are no floats of one shape, `to` is no less noisy, or the floor
        is no variance.
        """
        floats("x", x, typed("estimate", estimate, Estimate).x.shape)
        floor = typed("floor", floor, Amount | Tensor, 0.001)
        numbers = transition(level, to)
        mean = combine(x, expand(numbers.of_x, x), estimate.x0, expand(numbers.of_x0, x))
        return Gaussian(mean, self.variance(numbers, estimate, floor))

    def true_posterior(self, x: Tensor, x0: Tensor, level: Level, to: Level, floor: Scalar = 0.0) -> Gaussian:
        """q(x_to | x, x_0): the same step as it is when the clean sample is known; raises likewise."""
        floats("x", x)
        floats("x0", x0, x.shape)
        numbers = transition(level, to)
        known = Estimate.from_x0(x, level, x0)
        mean = combine(x, expand(numbers.of_x, x), x0, expand(numbers.of_x0, x))
        return Gaussian(mean, variance_rule("fixed_small")(numbers, known, floor))

    def remove_noise(self, x: Tensor, estimate: Estimate, level: Level, to: Level, eps: Tensor) -> Tensor:
        """One reverse step: a draw from `posterior` with the given standard normal eps.

        Where `to` is clean the mean is returned: noise there would stay in the picture.
        """
        step = self.posterior(x, estimate, level, to)
        floats("eps", eps, x.shape)
        if isinstance(to.sigma, Tensor):
            return step.sample(eps * expand(to.sigma > 0.0, eps))
        return step.mean if to.sigma == 0.0 else step.sample(eps)


def _check_level(level: Level, x: Tensor) -> None:
    """Refuse a time in a level's place, and levels of another number of samples than x has."""
    typed("level", level, Level, "schedule.level(0.5)")
    if isinstance(level.alpha, Tensor) and level.alpha.numel() not in (1, len(x)):
        raise InputError(
            f"level has {counted(level.alpha.numel(), 'number')} for {counted(len(x), 'sample')}; give one for all, "
            "or one for each."
        )
