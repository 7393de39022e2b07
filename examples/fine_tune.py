"""Learn a LoRA from a dozen pictures, and see what it changes.

The base is the shipped model `digits`, so that this runs in seconds and downloads nothing. With a Stable Diffusion
checkpoint of your own the same lines fine-tune that: MODEL=sd15.safetensors python examples/fine_tune.py
"""

import os
from pathlib import Path
from tempfile import mkdtemp

from PIL import Image, ImageDraw

import unnoise
from unnoise import images
from unnoise.training import (
    DataConfig,
    Finished,
    LoraConfig,
    OptimizerConfig,
    Progress,
    RunConfig,
    TrainConfig,
    train,
)

MODEL, WORDS = os.environ.get("MODEL", "digits"), "a seven"
STEPS = int(os.environ.get("STEPS", "60"))

work = Path(mkdtemp())
for number in range(12):  # sevens as nobody writes them: a bar at the top, a bar at the right
    picture = Image.new("RGB", (64, 64), "black")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((8, 8, 56, 14 + number), "white")
    draw.rectangle((46 - number, 8, 56, 60), "white")
    picture.save(work / f"{number:02}.png")

config = TrainConfig(
    lora=LoraConfig(model=MODEL, rank=4),
    data=DataConfig(caption=WORDS),
    optimizer=OptimizerConfig(lr=5e-3, warmup=5, ema=0.9),
    run=RunConfig(steps=STEPS, batch=4, sample_every=0, checkpoint_every=0, log_every=20),
)
lora = work / "run"
for event in train(work, work / "run", config):
    if isinstance(event, Progress):
        print(f"step {event.step} of {event.steps}, loss {event.loss:.3f}")
    if isinstance(event, Finished):
        lora = event.model
        print(f"the LoRA is in {lora}")

pipe = unnoise.load(MODEL)
before, after = (each(WORDS, seed=0, count=4, steps=8).images for each in (pipe, pipe.with_lora(lora)))
factor = max(1, 64 // before[0].width)
images.grid([images.enlarge(picture, factor) for picture in before + after], columns=4).save("fine_tuned.png")
