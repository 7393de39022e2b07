"""A tuned scheduler of the digits beside others at its number of steps: distance to the converged pictures.

    unnoise tune digits --steps 8
    python benchmarks/tuned.py digits-8.json

256 seeds that no fit has seen; the converged pictures are the default scheduler's of 100 steps. Root mean squares of
the difference, values in [-1, 1]: of the middle picture, of the one that nine in ten are better than, of all together.
One thread, half a minute.
"""

from __future__ import annotations

import argparse

import torch

import unnoise
from unnoise.schedulers import names
from unnoise.schedulers.tuning import Trajectories

BASE = "Adams-Moulton 2"
OTHERS = (BASE, "LMS", "DEIS", "DDIM", "UniPC Karras", "DPM++ 2M Karras")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", help="what `unnoise tune digits` saved")
    path = options.parse_args().file
    torch.set_num_threads(1)
    pipe = unnoise.load("digits")
    tuned = names.get(f"tuned:{path}")
    texts, steps, seeds = pipe.model.card["prompts"], tuned.steps, range(2_000_000, 2_000_256)
    run = pipe.denoise(
        [texts[i % len(texts)] for i in range(256)], seeds=list(seeds), steps=steps, scheduler=BASE
    )
    seen, schedule = Trajectories(run.estimate, run.noise), pipe.model.schedule
    goal = seen.end(names.get(BASE), schedule, 100).double()
    print(f"{steps} steps of {'':<20} middle   nine in ten  together")
    for name in (f"tuned:{path}", *OTHERS):
        misses = (seen.end(names.get(name), schedule, steps).double() - goal).square().flatten(1).mean(1)
        middle, most = torch.quantile(misses.sqrt(), torch.tensor([0.5, 0.9], dtype=torch.float64)).tolist()
        print(f"{name:<30} {middle:.4f}   {most:.4f}       {float(misses.mean().sqrt()):.4f}")


if __name__ == "__main__":
    main()
