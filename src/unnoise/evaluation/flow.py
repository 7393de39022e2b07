"""Likelihood along the probability-flow ODE: change of variables, with the trace measured by probes.

In the angle theta = atan(sigma / alpha), with x scaled to cos(theta) x_0 + sin(theta) eps, the equation is
dx/dtheta = v(x, theta), v the velocity that the network sees: no factor of it grows at either end, so few steps do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.evaluation.decoder import nearest_level_log_likelihood
from unnoise.evaluation.ends import ends
from unnoise.evaluation.integrate import adaptive, fixed
from unnoise.evaluation.result import Likelihood, per_nat, summarise
from unnoise.evaluation.subject import Subject
from unnoise.limits import Count, Declared, Positive
from unnoise.process import Gaussian, Level

Trace = Literal["rademacher", "gaussian", "exact"]
Dequantise = Literal["uniform", "noise"]

_EXACT_LIMIT = 1024  # numbers a picture up to which the whole Jacobian is asked for


@dataclass(frozen=True)
class Flow(Declared):
    """How the ODE is solved and its trace measured.

    tolerance: relative and absolute, of an adaptive solver; or steps: of a fixed one (6 calls each). trace:
    "rademacher" or "gaussian" probes v, E[v' J v] = tr J (Hutchinson 1990), or "exact" for small data. probes: how
    many. dequantise: how pictures of grey levels become numbers with a density, "uniform" noise of a bin's width
    or the process' own "noise". deviation: of the data, in the prior N(0, alpha^2 deviation^2 + sigma^2).
    """

    tolerance: Positive = 1e-5
    steps: Count | None = None
    trace: Trace = "rademacher"
    probes: Count = 1
    dequantise: Dequantise = "uniform"
    deviation: float = 1.0

    def solve(
        self, subject: Subject, which: Tensor, x: Tensor, cleanest: Level
    ) -> tuple[Tensor, Tensor, int]:
        """The prior's end of the path and the integral of the trace over it, divided by the numbers of a picture.

        x: (rows, ...) float64 at `cleanest`, scaled to unit radius. Returns the end (rows, ...), the
        integral (rows, probes), and the network calls.
        """
        schedule = subject.diffuser.schedule
        start, end = (math.atan(float(level.ratio)) for level in (cleanest, schedule.noisiest))
        probes = self._probes(subject, which)
        shape, numbers = x.shape, subject.numbers

        def slope(angle: float, state: Tensor) -> Tensor:
            place = state[:, :numbers].reshape(shape)
            velocity, trace = _velocity_and_trace(subject, which, place, angle, probes, self.trace == "exact")
            return torch.cat([velocity.flatten(1), trace / numbers], dim=1)

        sums = 1 if self.trace == "exact" else self.probes
        state = torch.cat([x.flatten(1), torch.zeros(len(x), sums, dtype=torch.float64, device="cpu")], dim=1)
        if self.steps is None:
            final, calls = adaptive(slope, state, start, end, self.tolerance)
        else:
            final, calls = fixed(slope, state, start, end, self.steps)
        return final[:, :numbers].reshape(shape), final[:, numbers:], calls

    def _probes(self, subject: Subject, which: Tensor) -> Tensor:
        """Vectors v, (probes, rows, ...); the unit vectors where the trace is exact."""
        shape = subject.x0.shape[1:]
        if self.trace == "exact":
            if subject.numbers > _EXACT_LIMIT:
                raise InputError(
                    f"an exact trace asks for {subject.numbers} derivatives a call; give trace='rademacher', or "
                    f"data of at most {_EXACT_LIMIT} numbers."
                )
            units = torch.eye(subject.numbers, dtype=torch.float64, device="cpu").reshape(-1, 1, *shape)
            return units.expand(-1, len(which), *shape)
        drawn = torch.stack(
            [subject.noise("probe", which, [number] * len(which)) for number in range(self.probes)]
        )
        return torch.sign(drawn) if self.trace == "rademacher" else drawn


def _velocity_and_trace(
    subject: Subject, which: Tensor, place: Tensor, angle: float, probes: Tensor, exact: bool
) -> tuple[Tensor, Tensor]:
    """Velocity (rows, ...) and v' J v of each probe, (rows, probes); of unit vectors their sum, (rows, 1)."""
    level = subject.diffuser.schedule.at_ratio(math.tan(angle))
    radius = math.hypot(float(level.alpha), float(level.sigma))
    with torch.enable_grad():
        seen = (place * radius).to(subject.x0.device, subject.x0.dtype).requires_grad_(True)
        velocity = subject.look(which, seen, level, None).velocity
        traces = []
        for index, probe in enumerate(probes):
            keep = index + 1 < len(probes)
            (slope,) = torch.autograd.grad((velocity * probe).sum(), seen, retain_graph=keep)
            traces.append((slope.cpu().double() * probe).flatten(1).sum(1) * radius)
    trace = torch.stack(traces, dim=1)
    return velocity.detach(), trace.sum(1, keepdim=True) if exact else trace


@torch.inference_mode(False)  # which the caller may be in, and which knows no gradients
def flow_likelihood(subject: Subject, flow: Flow) -> Likelihood:
    """-log p of every picture by the ODE, as prior + trace + what dequantisation adds."""
    schedule = subject.diffuser.schedule
    cleanest, noisiest = schedule.cleanest, schedule.noisiest
    if flow.dequantise == "noise":
        cleanest, _ = ends(schedule, subject.bins)
    prior_variance = _variance(noisiest, flow.deviation)
    priors, traces, extras, calls = [], [], [], 0
    for part in subject.chunks(len(subject)):
        which = subject.every[part]
        x, extra = _start(subject, flow, which, cleanest)
        end, integral, asked = flow.solve(subject, which, x, cleanest)
        density = Gaussian(torch.zeros_like(end), prior_variance)
        priors.append(-density.log_prob(end).flatten(1).mean(1))
        traces.append(-integral)
        extras.append(extra)
        calls += asked * len(which)
    trace = torch.cat(traces)
    return summarise(
        {"prior": torch.cat(priors), "trace": trace.mean(1), "data": torch.cat(extras)},
        calls=calls / len(subject),
        estimator="probability-flow ODE",
        conventions=_conventions(subject, flow, trace),
        unit=subject.unit,
    )


def _variance(noisiest: Level, deviation: float) -> float:
    square = float(noisiest.ratio) ** 2
    if math.isinf(square):
        return 1.0
    return (deviation**2 + square) / (1.0 + square)


def _start(subject: Subject, flow: Flow, which: Tensor, cleanest: Level) -> tuple[Tensor, Tensor]:
    """The pictures as points of the path's first level, and what changing to them adds, nats per number."""
    x0, ratio, bins = subject.clean(which), float(cleanest.ratio), subject.bins
    cosine = 1.0 / math.hypot(1.0, ratio)
    if bins is not None and flow.dequantise == "noise":
        x = subject.diffuser.add_noise(x0, subject.noise("dequantise", which, [0] * len(which)), cleanest)
        decoder = -nearest_level_log_likelihood(x0, x, cleanest, bins).flatten(1).mean(1)
        radius = math.hypot(float(cleanest.alpha), float(cleanest.sigma))
        # the draw's own log density, not its mean: it falls and rises with the density of the path's start
        given = Gaussian(x0 * float(cleanest.alpha), float(cleanest.sigma) ** 2)
        return x / radius, decoder + math.log(radius) + given.log_prob(x).flatten(1).mean(1)
    extra = torch.full((len(x0),), -math.log(cosine), dtype=torch.float64, device="cpu")
    if bins is None:
        return x0 * cosine, extra
    sources = [randomness.generator(subject.seed, "likelihood uniform", int(place)) for place in which]
    rows = [torch.rand(x0.shape[1:], generator=one, dtype=torch.float64, device="cpu") for one in sources]
    grey = (x0 + 1.0) * (bins - 1) / 2.0
    x = (grey.round() + torch.stack(rows)) * 2.0 / bins - 1.0
    return x * cosine, extra + math.log(bins / 2.0)


def _conventions(subject: Subject, flow: Flow, trace: Tensor) -> tuple[str, ...]:
    solver = f"{flow.steps} fixed steps" if flow.steps else f"tolerance {flow.tolerance:g}"
    probes = "exact trace" if flow.trace == "exact" else f"{flow.probes} {flow.trace} probes"
    told = [f"Dormand-Prince 5(4) in the angle, {solver}, {probes}", "clip left out"]
    if subject.bins is not None:
        scaled = f"uniform dequantisation to bins of 2/{subject.bins}"
        own = "dequantisation by the process' cleanest noise, a bound"
        told.append(scaled if flow.dequantise == "uniform" else own)
    if trace.shape[1] > 1:
        error = float((trace.var(1) / trace.shape[1]).mean().sqrt()) / math.sqrt(len(trace))
        told.append(f"the probes' share of the error bar is {error * per_nat(subject.unit):.2g}")
    return tuple(told)
