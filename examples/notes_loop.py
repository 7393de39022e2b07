"""The denoising loop, written out: predict the residual, take a step, look at the picture every 50 steps.

python examples/notes_loop.py

The network is that of the shipped model "digits", with a prompt bound to it. What it predicts is called the
residual, as in the notes; this network gives the velocity, one of the forms in which the noise residual can be
told, so the scheduler is told that too.
"""

import sys
from functools import partial

import torch
import tqdm

import unnoise
from unnoise import images
from unnoise.pipelines import Condition
from unnoise.randomness import NoiseSource
from unnoise.schedulers import names

STEPS = 200
SEEDS = (1, 2, 3, 4)

# The model: a UNet, the noise schedule it was trained on, and the prompt as an embedding.
digits = unnoise.load("digits").model
prompt = Condition.of(digits, ["a seven"] * len(SEEDS))
model = partial(digits.network, text=prompt.text, pooled=prompt.pooled)

# The scheduler of one run: its numbers come from a plan, its fresh noise from a seed for each picture.
noise = NoiseSource(SEEDS)
plan = names.get("DDPM").plan(digits.schedule, STEPS)
scheduler = plan.stepper(digits.prediction, noise)


def display_sample(sample: torch.Tensor, i: int) -> None:
    sheet = images.grid(images.to_pil(sample), columns=4)
    print(f"\nstep {i}\n{images.terminal_text(sheet, images.terminal_colours(sys.stdout))}")


sample = plan.initial(noise("start", like=torch.empty(len(SEEDS), *digits.shape)))

for i, t in enumerate(tqdm.tqdm(scheduler.timesteps)):
    # 1. predict the noise residual
    with torch.no_grad():
        residual = model(sample, t).sample

    # 2. compute a less noisy picture: x_t -> x_t-1
    sample = scheduler.step(residual, t, sample).prev_sample

    # 3. look at it now and then
    if (i + 1) % 50 == 0:
        display_sample(sample, i + 1)
