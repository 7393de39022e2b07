"""How close samplers come to the exact result: ours beside diffusers' and k-diffusion's, and the choice of a default.

Data are mixtures of normals on the line, whose probability-flow ODE carries quantiles to quantiles exactly. The error
is the root mean square over 64 of them. One core, under two minutes:

    python benchmarks/solvers.py             # the table of docs/schedulers/accuracy.md
    python benchmarks/solvers.py --default   # solvers x grids on VP, EDM and flow, for the default
    python benchmarks/solvers.py --model digits   # a shipped model's pictures beside its own 200-step results
    python benchmarks/solvers.py --model emoji --calls 12   # the same at one number of calls, names only
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from closed_forms import MIXTURE, Mixture
from unnoise.errors import InputError
from unnoise.evaluation.similarity import structural_similarity
from unnoise.process import EDM, DiscreteVP, Flow, Level
from unnoise.schedulers import Scheduler, finals, grids, names, solvers
from unnoise.schedulers.solvers import Adams

warnings.filterwarnings("ignore")
SD = DiscreteVP.scaled_linear()
PAIR = Mixture((0.6, 0.4), (-0.9, 0.8), (0.2, 0.25))
COUNTS = (8, 10, 12, 20, 30, 40)
CHOSEN_AT = (8, 12, 20, 30)
SOLVERS = {
    "Euler": Adams(1, "sigma", "noise"),
    "LMS": Adams(4, "sigma", "noise"),
    "DPM++ 2M": Adams(2, "lambda", "x0", "midpoint"),
    "DPM++ 3M": Adams(3, "lambda", "x0"),
    "DEIS 3": Adams(3, "lambda", "noise"),
    "AB4 noise": Adams(4, "lambda", "noise"),
    "AB4 flow": Adams(4, "flow", "flow"),
    "AB3 angle": Adams(3, "angle", "velocity"),
    "AB4 angle": Adams(4, "angle", "velocity"),
    "UniPC 2": solvers.unipc(2),
    "UniPC 3": solvers.unipc(3),
    "Adams-Moulton 2": solvers.adams_moulton(2),
    "Adams-Moulton 3": solvers.adams_moulton(3),
    "Adams-Moulton 4": solvers.adams_moulton(4),
}
GRIDS = {
    "Karras": grids.Karras(),
    "Exponential": grids.Exponential(),
    "Arcsinh": grids.Arcsinh(),
    "Trailing": grids.Trailing(),
    "Linspace": grids.Linspace(),
    "SGM Uniform": grids.SGMUniform(),
    "Beta": grids.BetaTime(),
    "KL Optimal": grids.KLOptimal(),
}


def rms(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Root mean square of the difference."""
    return float((found - exact).pow(2).mean().sqrt())


def own(scheduler: Scheduler, schedule, calls: int, data: Mixture = MIXTURE) -> float:
    """Our error with so many network calls."""
    steps = max(1, round(calls / scheduler.solver.calls))
    plan = scheduler.plan(schedule, steps)
    x = data.quantiles(plan.levels[0]).reshape(-1, 1)
    *_, last = plan.run(data.denoise, x)
    return rms(last.x.flatten(), data.quantiles(plan.levels[-1]))


def ve(sigma: float) -> Level:
    """A level in the scaling of k-diffusion."""
    return Level(sigma, 1.0, sigma)


def diffusers_peers(end: bool) -> dict:
    """Class and settings of each peer; without lower orders at the end where the run stops before it."""
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    base = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    found = {}
    for flag in ("karras", "exponential", "beta", None):
        sigmas = {f"use_{flag}_sigmas": True} if flag else {}
        label = flag or "own grid"
        few = {} if end else {"lower_order_final": False}
        for order in (1, 2, 3):
            found[f"DPM++ {order} {label}"] = (
                diffusers.DPMSolverMultistepScheduler,
                {"solver_order": order, **few},
            )
            found[f"SA-Solver {order} {label}"] = (
                diffusers.SASolverScheduler,
                {"predictor_order": order, "corrector_order": order, "tau_func": lambda t: 0.0, **few},
            )
            if not end:
                found[f"DEIS {order} {label}"] = (
                    diffusers.DEISMultistepScheduler,
                    {"solver_order": order, **few},
                )
        for order in (1, 2, 3, 4):  # its third order and above are the same for bh1 and bh2
            for unknown, data in (("x0", True), ("noise", False)):
                found[f"UniPC {order} {unknown} {label}"] = (
                    diffusers.UniPCMultistepScheduler,
                    {"solver_order": order, "predict_x0": data, **few},
                )
        found[f"LMS {label}"] = (diffusers.LMSDiscreteScheduler, {})
        for name in [name for name in found if name.endswith(label)]:
            cls, settings = found[name]
            found[name] = (cls, {**base, **settings, **sigmas})
    return found


def diffusers_error(cls, settings: dict, calls: int, end: bool) -> float:
    """Error of one of their classes; the exact model is asked at the scheduler's own sigma."""
    peer = cls(**settings)
    peer.set_timesteps(calls if end else calls + 1)
    scaled = "Discrete" in cls.__name__
    sigmas = peer.sigmas.double()

    def level(i: int) -> Level:
        sigma = float(sigmas[i])
        alpha = 1.0 if scaled else 1.0 / math.hypot(1.0, sigma)
        return Level(0.0, alpha, alpha * sigma)

    x = MIXTURE.quantiles(level(0)).reshape(-1, 1, 1, 1)
    peer.set_begin_index(0)
    for i, t in enumerate(peer.timesteps[:calls]):
        shown = level(i)
        peer.is_scale_input_called = True
        eps = (x - shown.alpha * MIXTURE.denoise(x, shown)) / shown.sigma
        x = peer.step(eps, t, x).prev_sample.double()
    exact = MIXTURE.quantiles(Level(0.0, 1.0, 0.0) if end else level(calls))
    return rms(x.flatten(), exact)


def k_errors(calls: int, end: bool) -> dict[str, float]:
    """Errors of k-diffusion's deterministic samplers, on its own two grids."""
    from parity.peers import k_sampling

    k = k_sampling()
    if k is None:
        return {}
    low, high = float(SD.cleanest.ratio), float(SD.noisiest.ratio)
    found = {}
    samplers = {
        "Euler": (k.sample_euler, 1, {}),
        "LMS": (k.sample_lms, 1, {}),
        "Heun": (k.sample_heun, 2, {}),
        "DPM2": (k.sample_dpm_2, 2, {}),
        "2S": (k.sample_dpmpp_2s_ancestral, 2, {"eta": 0.0}),
        "2M": (k.sample_dpmpp_2m, 1, {}),
        "2M heun": (k.sample_dpmpp_2m_sde, 1, {"eta": 0.0, "solver_type": "heun"}),
        "3M": (k.sample_dpmpp_3m_sde, 1, {"eta": 0.0}),
    }
    for name, (sampler, cost, options) in samplers.items():
        for grid, made in (("karras", k.get_sigmas_karras), ("exponential", k.get_sigmas_exponential)):
            steps = calls // cost
            sigmas = made(steps if end else steps + 1, low, high).double()
            sigmas = sigmas if end else sigmas[:-1]
            if "sde" in sampler.__name__:
                options = {**options, "noise_sampler": lambda *_: 0.0}
            x = MIXTURE.quantiles(ve(float(sigmas[0]))).reshape(-1, 1)
            got = sampler(
                lambda u, s: MIXTURE.denoise(u, ve(float(s[0]))), x, sigmas, disable=True, **options
            )
            found[f"{name} {grid}"] = rms(got.flatten(), MIXTURE.quantiles(ve(float(sigmas[-1]))))
    return found


def ours_errors(calls: int, end: bool) -> dict[str, float]:
    """Errors of our solvers on the same noise schedule, on their own grids."""
    found = {}
    final = {} if end else {"final": finals.Stop()}
    for solver in SOLVERS:
        for grid in ("Karras", "Exponential", "Arcsinh"):
            found[f"{solver} {grid}"] = own(Scheduler(GRIDS[grid], SOLVERS[solver], **final), SD, calls)
    return found


def best(errors: dict[str, float]) -> tuple[float, str]:
    """The smallest error and whose it is."""
    return min((error, name) for name, error in errors.items() if math.isfinite(error))


def compare() -> None:
    print(f"{'calls':>5}  {'to':<12}{'ours':<38}{'diffusers':<38}{'k-diffusion':<30}ratio")
    for end in (False, True):
        peers = diffusers_peers(end)
        for calls in COUNTS:
            theirs = {}
            for name, (cls, settings) in peers.items():
                theirs[name] = diffusers_error(cls, settings, calls, end)
            columns = [
                best(ours_errors(calls, end)),
                best(theirs),
                best(k_errors(calls, end) or {"absent": 9e9}),
            ]
            ratio = min(columns[1][0], columns[2][0]) / columns[0][0]
            cells = "".join(
                f"{f'{error:.1e} {name}':<{w}}"
                for (error, name), w in zip(columns, (38, 38, 30), strict=True)
            )
            print(f"{calls:>5}  {'sigma 0' if end else 'last sigma':<12}{cells}{ratio:.2f}")


def choose() -> None:
    """Geometric mean of the end-to-end errors over calls, data and noise schedules of a family."""
    families = {
        "VP": (SD, DiscreteVP.linear(), DiscreteVP.cosine()),
        "EDM": (EDM(),),
        "flow": (Flow(), Flow(shift=3.0)),
    }
    for family, schedules in families.items():
        rows = []
        for solver in SOLVERS:
            for grid in GRIDS:
                scheduler = Scheduler(GRIDS[grid], SOLVERS[solver])
                rows.append((*score(scheduler, schedules), f"{solver} {grid}"))
        for label, scheduler in (("default", Scheduler()), ("DPM++ 2M Karras, first order", first_order())):
            rows.append((*score(scheduler, schedules), label))
        rows.sort()
        print(f"\n{family}: geometric mean of errors (at {', '.join(map(str, CHOSEN_AT))} calls)")
        for place, (mean, each, name) in enumerate(rows):
            if place < 12 or name in (
                "default",
                "DPM++ 2M Karras, first order",
                "UniPC 2 Karras",
                "Euler Trailing",
            ):
                print(f"{place + 1:>4}  {mean:.2e}  {'  '.join(f'{e:.1e}' for e in each)}  {name}")


def pictures(model: str, calls: int | None = None) -> None:
    """Distance (root mean square) and likeness (SSIM) of a model's pictures to its own 200-step results.

    calls: compare the default and four well-known names at this number alone; else the candidates of decision 10.
    """
    import unnoise

    pipe = unnoise.load(model)
    prompts, seeds = list(pipe.model.card["prompts"][:4]), [1, 2, 3, 4]

    def drawn(scheduler: Scheduler, steps: int) -> torch.Tensor:
        made = pipe(prompts, seeds=seeds, steps=steps, scheduler=scheduler).arrays
        return torch.stack([torch.from_numpy(picture).double() for picture in made]).movedim(-1, 1)

    middling = Scheduler()
    reference = drawn(middling, 200)
    limit = 2 * reference - 1
    print(f"two 200-step results differ by {rms(drawn(names.get('DPM++ 2M Karras'), 200), reference):.4f}")
    candidates = {
        "Adams-Moulton 2 Arcsinh": middling,
        "Adams-Moulton 3 Arcsinh": Scheduler(grids.Arcsinh(), solvers.adams_moulton(3)),
        "Adams-Moulton 4 Arcsinh": Scheduler(grids.Arcsinh(), solvers.adams_moulton(4)),
        "AB4 angle Arcsinh": Scheduler(grids.Arcsinh(), SOLVERS["AB4 angle"]),
        "UniPC Karras": Scheduler(grids.Karras(), solvers.unipc(2)),
        "DPM++ 2M Karras": first_order(),
        "DDIM": names.get("DDIM"),
        "Euler": names.get("Euler"),
    }
    if calls:
        known = ("Euler", "DDIM", "DPM++ 2M Karras", "UniPC")
        candidates = {"the default": middling} | {name: names.get(name) for name in known}
    counts = (calls,) if calls else CHOSEN_AT
    print(f"{'':<26}" + "".join(f"{f'{steps} calls':<16}" for steps in counts))
    for name, scheduler in candidates.items():
        made = [drawn(scheduler, steps) for steps in counts]
        cells = [
            f"{rms(one, reference):.4f}  {float(structural_similarity(2 * one - 1, limit).mean()):.4f}"
            for one in made
        ]
        print(f"{name:<26}" + "".join(f"{cell:<16}" for cell in cells))


def first_order() -> Scheduler:
    """What other libraries call DPM++ 2M Karras."""
    parts = names.get("DPM++ 2M Karras")
    return Scheduler(parts.grid, parts.solver, final=finals.FirstOrder())


def score(scheduler: Scheduler, schedules) -> tuple[float, list[float]]:
    """(mean over everything, mean at each number of calls)."""
    each = []
    for calls in CHOSEN_AT:
        logs = []
        for schedule in schedules:
            for data in (MIXTURE, PAIR):
                try:
                    logs.append(math.log(own(scheduler, schedule, calls, data) + 1e-16))
                except InputError:
                    logs.append(math.inf)
        each.append(math.exp(sum(logs) / len(logs)))
    return math.exp(sum(map(math.log, each)) / len(each)), each


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--default", action="store_true", help="measure candidates for the default")
    options.add_argument(
        "--model", metavar="NAME", help="compare a shipped model's pictures with their limit"
    )
    options.add_argument("--calls", type=int, metavar="N", help="with --model: one number of network calls")
    chosen = options.parse_args()
    if chosen.model:
        pictures(chosen.model, chosen.calls)
    else:
        choose() if chosen.default else compare()
