"""Two processes train one model: what each computes is its half of every batch, and the result is that of one.

python examples/train_on_many_processes.py

The script starts itself under torchrun, which is how it is done on many GPUs and machines too; `shard=True` lets the
processes share weights, moments and averages (FSDP2), so that a model may be larger than one of them can hold.
"""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

import unnoise
from unnoise.training import ModelConfig, Progress, RunConfig, TrainConfig, train

DATA, OUT = Path("squares"), Path("run-of-two")
COLOURS = ("red", "gold", "blue")


def draw_pictures() -> None:
    DATA.mkdir()
    for number in range(24):
        colour = COLOURS[number % 3]
        Image.new("RGB", (8, 8), colour).save(DATA / f"{number:02d}.png")
        (DATA / f"{number:02d}.txt").write_text(f"a {colour} square", encoding="utf-8")


def work() -> None:
    """What every process does. Random numbers are keyed, so they need not agree on anything else."""
    config = TrainConfig(
        model=ModelConfig(size=8, network={"widths": [16, 16], "blocks": 1}),
        run=RunConfig(steps=20, batch=8, shard=True, device="cpu", checkpoint_every=0, sample_every=0),
    )
    for event in train(DATA, OUT, config):
        if isinstance(event, Progress) and os.environ["RANK"] == "0":
            print(f"step {event.step}: loss {event.loss:.3f}")


if "RANK" in os.environ:
    work()
else:
    draw_pictures()
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, *launcher, __file__], check=True)
    pipe = unnoise.load(OUT)
    print(f"the model draws {pipe.model.shape[2]}x{pipe.model.shape[1]} pictures")
