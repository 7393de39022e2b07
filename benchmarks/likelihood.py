"""Likelihood along the probability-flow ODE: ours beside k-diffusion's, error and network calls at equal tolerance.

Data have a known density: a normal law, and a mixture of normals, in each of 48 numbers. Their Jacobian is diagonal,
so one Rademacher probe gives the trace exactly and only the solver errs. Same network, same prior N(0, 80^2), same
pictures, float64. k-diffusion needs its package and torchdiffeq; without it only ours is shown. Seconds on one core:

    python benchmarks/likelihood.py
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "parity"))

from peers import k_sampling

from closed_forms import Mixture
from unnoise.evaluation import Flow, bits_per_dim
from unnoise.process import EDM, Diffuser

SCHEDULE = EDM()
PICTURES, NUMBERS = 32, 48
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
DATA = {
    "normal": Mixture((1.0,), (0.0,), (0.5,)),
    "mixture": Mixture((0.3, 0.4, 0.3), (-1.2, 0.0, 1.2), (0.3, 0.3, 0.3)),
}


class Exact:
    """E[x_0 | x] for rows with a sigma each, counting its calls."""

    def __init__(self, data: Mixture) -> None:
        self.parts = [
            torch.tensor(part, dtype=torch.float64) for part in (data.weights, data.means, data.deviations)
        ]
        self.calls = 0

    def __call__(self, x, sigma):
        """x: (rows, numbers); sigma: a number, or one a row."""
        self.calls += 1
        w, m, d = self.parts
        total = d**2 + sigma.reshape(-1, 1, 1) ** 2
        away = x.unsqueeze(-1) - m
        share = torch.softmax(w.log() - 0.5 * total.log() - 0.5 * away**2 / total, -1)
        return (share * (m + d**2 / total * away)).sum(-1)

    def bits(self, x):
        """Minus log2 of the density at sigma_min, per number."""
        w, m, d = self.parts
        total = d**2 + SCHEDULE.sigma_min**2
        log = w.log() - 0.5 * (2.0 * math.pi * total).log() - 0.5 * (x.unsqueeze(-1) - m) ** 2 / total
        return -torch.logsumexp(log, -1).mean(1) / math.log(2.0)


def pictures(data):
    source = torch.Generator().manual_seed(0)
    w, m, d = (
        torch.tensor(part, dtype=torch.float64) for part in (data.weights, data.means, data.deviations)
    )
    kind = torch.multinomial(w, PICTURES * NUMBERS, True, generator=source).reshape(PICTURES, NUMBERS)
    return m[kind] + d[kind] * torch.randn(PICTURES, NUMBERS, generator=source, dtype=torch.float64)


def ours(exact, x, tolerance):
    def network(x, time):
        return exact(x, (4.0 * time.double()).exp())

    exact.calls = 0
    flow = Flow(tolerance=tolerance, deviation=0.0)
    found = bits_per_dim(Diffuser(network, SCHEDULE, "sample"), x, "ode", space="numbers", flow=flow)
    return found.each, exact.calls


def theirs(sampling, exact, x, tolerance):
    exact.calls = 0
    torch.manual_seed(0)
    ends = SCHEDULE.sigma_min, SCHEDULE.sigma_max
    log, _ = sampling.log_likelihood(exact, x, *ends, atol=tolerance, rtol=tolerance)
    return -log / (NUMBERS * math.log(2.0)), exact.calls


def main() -> None:
    sampling = k_sampling()
    solvers = {"unnoise": ours}
    if sampling is not None:
        solvers["k-diffusion"] = lambda *given: theirs(sampling, *given)
    print(f"{'data':<9}{'':<13}" + "".join(f"{f'tolerance {tolerance:g}':>25}" for tolerance in TOLERANCES))
    for name, data in DATA.items():
        exact, x = Exact(data), pictures(data)
        truth = exact.bits(x)
        for solver, ask in solvers.items():
            cells = []
            for tolerance in TOLERANCES:
                found, calls = ask(exact, x, tolerance)
                error = float((found - truth).square().mean().sqrt())
                cells.append(f"{error:.1e} bits, {calls:>3} calls".rjust(25))
            print(f"{name:<9}{solver:<13}" + "".join(cells))


if __name__ == "__main__":
    main()
