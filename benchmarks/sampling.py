"""Cost of a sampler's own work, without a network: ours beside diffusers' schedulers, in one process.

    python benchmarks/sampling.py [--quick]

Both sides get the same free network (it returns a tensor made beforehand) and a sample of shape (1, 4, 64, 64)
in float32. Each pair runs in turn, ours, theirs, ours, theirs; the figures are medians over the runs, in
microseconds of processor time a step, which others' work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import diffusers
import torch

from unnoise.process import DiscreteVP, Estimate
from unnoise.process.prediction import Noise
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, names

SHAPE = (1, 4, 64, 64)
STEPS = 50
PAIRS: tuple[tuple[str, Scheduler, str, dict[str, object]], ...] = (
    ("Euler", names.get("Euler"), "EulerDiscreteScheduler", {}),
    ("LMS", names.get("LMS"), "LMSDiscreteScheduler", {}),
    ("DPM++ 2M", names.get("DPM++ 2M"), "DPMSolverMultistepScheduler", {}),
    ("DDIM", names.get("DDIM"), "DDIMScheduler", {}),
    ("Heun", names.get("Heun"), "HeunDiscreteScheduler", {}),
    ("DPM2", names.get("DPM2"), "KDPM2DiscreteScheduler", {}),
    ("DEIS", names.get("DEIS"), "DEISMultistepScheduler", {}),
    ("AB4", names.get("AB4"), "PNDMScheduler", {"skip_prk_steps": True}),
    ("Euler a", names.get("Euler a"), "EulerAncestralDiscreteScheduler", {}),
    ("DDPM", names.get("DDPM"), "DDPMScheduler", {}),
    ("UniPC bh2", names.get("UniPC bh2"), "UniPCMultistepScheduler", {}),
    ("Adams-Moulton 2 (default)", Scheduler(), "UniPCMultistepScheduler", {}),
)


def ours(scheduler: Scheduler) -> Callable[[], float]:
    """A timed run of ours: seconds for all network calls' worth of steps."""
    plan = scheduler.plan(DiscreteVP.scaled_linear(), STEPS)
    output = torch.randn(SHAPE)
    prediction = Noise()
    start = torch.randn(SHAPE)
    noise = NoiseSource((0,))

    def run() -> float:
        begin = time.process_time()
        for _ in plan.run(lambda x, level: Estimate(x, level, output, prediction), start, noise):
            pass
        return (time.process_time() - begin) / len(plan.looks)

    return run


def drawing(runs: int) -> float:
    """Microseconds for the keyed normal numbers of one step: no sampler that draws afresh can cost less."""
    noise, like, found = NoiseSource((0,)), torch.empty(SHAPE), []
    for index in range(50 * runs):
        begin = time.process_time()
        noise("step", index, like=like)
        found.append(time.process_time() - begin)
    return statistics.median(found) * 1e6


def theirs(name: str, options: dict[str, object]) -> Callable[[], float]:
    """A timed run of diffusers' class of this name, set up as a pipeline would."""
    scheduler = getattr(diffusers, name)(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **options
    )
    output = torch.randn(SHAPE)
    start = torch.randn(SHAPE)

    def run() -> float:
        scheduler.set_timesteps(STEPS)
        sample = start
        begin = time.process_time()
        for t in scheduler.timesteps:
            scheduler.scale_model_input(sample, t)
            sample = scheduler.step(output, t, sample).prev_sample
        return (time.process_time() - begin) / len(scheduler.timesteps)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 runs each in place of 20")
    runs = 3 if parser.parse_args().quick else 20
    torch.set_num_threads(1)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, 1 thread, torch {torch.__version__}, diffusers {diffusers.__version__}")
    print(f"{SHAPE} float32, {STEPS} steps, medians of {runs} runs, microseconds a network call\n")
    print(f"drawing the noise of one step alone, for those that draw: {drawing(runs):.1f} us\n")
    print(f"{'ours':26}  {'us':>7}  {'diffusers':34}  {'us':>7}  ratio")
    for label, scheduler, name, options in PAIRS:
        mine, other = ours(scheduler), theirs(name, options)
        mine(), other()
        pairs = [(mine(), other()) for _ in range(runs)]
        a, b = (statistics.median(values) * 1e6 for values in zip(*pairs, strict=True))
        print(f"{label:26}  {a:7.1f}  {name:34}  {b:7.1f}  {a / b:.2f}")


if __name__ == "__main__":
    main()
