"""A scheduler of one's own: choose the four parts, then compare with named ones at equal cost.

python examples/compose_a_scheduler.py

The measure is the distance to the picture that 200 steps lead to from the same noise: how far each scheduler is
from where it would arrive if it took its time.
"""

import torch

import unnoise
from unnoise.schedulers import Scheduler, finals, grids, names, noise, solvers

pipe = unnoise.load("digits")
prompts = ["a two", "a five", "a seven", "an eight"]


def pictures(scheduler: Scheduler, steps: int) -> torch.Tensor:
    run = pipe.denoise(prompts, scheduler=scheduler, steps=steps, seed=0)
    *_, last = run
    return last.x


ours = Scheduler(
    grid=grids.Karras(rho=7),
    solver=solvers.Adams(order=3, variable="lambda", unknown="noise"),
    noise=noise.none(),
    final=finals.Extrapolate(),
)
candidates = {"ours": ours} | {
    name: names.get(name) for name in ("DDIM", "LMS", "DPM++ 2M", "DPM++ 2M Karras")
}

converged = pictures(names.get("AB4"), steps=200)
print("distance to the converged picture (root mean square; pictures are in [-1, 1])")
print(f"{'':16}" + "".join(f"{steps:8}" for steps in (8, 12, 20)))
for name, scheduler in candidates.items():
    errors = [(pictures(scheduler, steps) - converged).square().mean().sqrt().item() for steps in (8, 12, 20)]
    print(f"{name:16}" + "".join(f"{error:8.4f}" for error in errors))
