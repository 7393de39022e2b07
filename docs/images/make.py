"""The pictures on the pages, from the shipped models and the flow's miniature; none is selected.

python docs/images/make.py [FOLDER]
"""

import contextlib
import io
import os
import re
import runpy
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from PIL import Image

import unnoise
from unnoise import images
from unnoise.pipelines.latents import decode
from unnoise.process import DiscreteVP
from unnoise.randomness import normal

EMOJI = (
    "a red apple, 3d", "a banana, flat", "a strawberry, noto", "a pizza, 3d", "a hamburger, noto", "a cookie, flat",
    "a dog, 3d", "a cat, noto", "a panda, flat", "a fox, noto", "a frog, 3d", "a penguin, 3d",
    "an owl, noto", "a whale, noto", "an octopus, 3d", "a turtle, flat", "a butterfly, 3d", "a bee, noto",
    "a sunflower, 3d", "a cactus, flat", "a tree, 3d", "a sun, noto", "a star, flat", "a rainbow, noto",
    "a house, noto", "a castle, 3d", "a car, flat", "a rocket, 3d", "an airplane, noto", "a boat, flat",
    "a happy face, noto", "a sad face, 3d", "a ghost, 3d", "a robot, 3d", "a red heart, flat", "a blue heart, 3d",
)  # fmt: skip


def denoising(pipe: unnoise.TextToImage, prompt: str) -> list:
    """Two rows for the prompt, seed 7, 20 steps: the sample, and below it the picture that the network predicts."""
    run = pipe.denoise(prompt, steps=20, seed=7)
    steps = [step for step in run if step.index in (0, 3, 6, 9, 12, 15, 17, 19)]
    return images.to_pil(torch.cat([step.x for step in steps] + [step.x0 for step in steps]))


def schedulers(pipe: unnoise.TextToImage) -> list:
    """Three rows for one prompt and one noise: DDPM, DDIM and LMS, in 4, 8, 12 and 20 steps."""
    return [
        pipe("an owl, noto", scheduler=name, steps=steps, seed=7).images[0]
        for name in ("DDPM", "DDIM", "LMS")
        for steps in (4, 8, 12, 20)
    ]


def looks() -> list:
    """What `examples/notes_loop.py` shows at steps 50, 100, 150 and 200: a row of four samples each."""
    sheets: list[Image.Image] = []
    shown = mock.patch.object(images, "terminal_text", lambda sheet, _colours: str(sheets.append(sheet)))
    with shown, contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(str(Path(__file__).parents[2] / "examples" / "notes_loop.py"))
    return [images.enlarge(sheet, 8) for sheet in sheets]


def noising(pipe: unnoise.TextToImage) -> list:
    """Two rows for one picture and one noise, times 0 to 999: by DDPM's table, and by improved DDPM's."""
    x0 = images.from_pil(pipe("a red apple, 3d", steps=20, seed=7).images)
    eps = normal(0, "noise", shape=x0.shape)
    levels = [
        schedule.level(round(999 * share / 7))
        for schedule in (DiscreteVP.linear(), DiscreteVP.cosine())
        for share in range(8)
    ]
    return images.to_pil(torch.cat([level.alpha * x0 + level.sigma * eps for level in levels]))


def emoji() -> list:
    """Thirty-six prompts, seeds 0 to 35."""
    return unnoise.load("emoji")(EMOJI, seed=0).images


def latents() -> list:
    """Four columns: the channels of the last latent; looks at steps 1, 7, 14 and 20 of the flow's page; decodings."""
    page = (Path(__file__).parents[1] / "words" / "flow.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```\n", page, re.MULTILINE | re.DOTALL))
    here, names = Path.cwd(), {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        os.chdir(folder)
        try:
            exec(code, names)  # its last part is the walk on a checkpoint
        finally:
            os.chdir(here)
    options = {"scheduler": "DPM++ 2M", "steps": 20, "guidance": 5.0, "seed": names["seed"], **names["size"]}
    seen = [
        step.x0 for step in names["pipe"].denoise(names["prompt"], **options) if step.index in (0, 6, 13, 19)
    ]
    grey = [images.to_pil(channel / 3)[0].convert("RGB") for channel in seen[-1].split(1, dim=1)]
    looks = [names["look"](x0)[0] for x0 in seen]
    with torch.inference_mode():
        decoded = [images.to_pil(decode(names["model"], x0))[0] for x0 in seen]
    nearest = [picture.resize((80, 80), Image.Resampling.NEAREST) for picture in grey]
    return nearest + [picture.resize((80, 80), Image.Resampling.BOX) for picture in looks + decoded]


def main(folder: Path) -> None:
    images.write_png(folder / "latents.png", images.grid(latents(), 4, gap=6))
    images.write_png(folder / "emoji.png", images.grid(emoji(), 12, gap=6))
    images.write_png(folder / "loop.png", images.grid(looks(), 1, gap=12))
    pipe = unnoise.load("emoji")
    sheets = {
        "denoising": (denoising(unnoise.load("digits"), "a seven"), 8, 8),
        "appearing": (denoising(pipe, "a red apple, 3d"), 2, 8),
        "noising": (noising(pipe), 2, 8),
        "schedulers": (schedulers(pipe), 2, 4),
    }
    for name, (pictures, factor, columns) in sheets.items():
        big = [images.enlarge(picture, factor) for picture in pictures]
        images.write_png(folder / f"{name}.png", images.grid(big, columns, gap=8))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
