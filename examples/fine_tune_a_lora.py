"""A LoRA teaches the shipped model `digits` something new: digits in black on white. The model itself stays as it is.

python examples/fine_tune_a_lora.py

Two dozen pictures are enough; they are made here, by turning the model's own round. `unnoise train pictures/ --out run
--lora digits` does the same from the command line.
"""

from pathlib import Path
from tempfile import mkdtemp

from PIL import ImageOps

import unnoise
from unnoise import images
from unnoise.training import LoraConfig, OptimizerConfig, RunConfig, TrainConfig, train

NAMES = ("three", "seven", "eight")

work = Path(mkdtemp())
data, out = work / "pictures", work / "run"
data.mkdir()
pipe = unnoise.load("digits")
for number in range(24):
    prompt = f"a {NAMES[number % 3]}"
    picture = pipe(prompt, steps=8, seed=number).images[0]
    ImageOps.invert(picture.convert("L")).save(data / f"{number:02d}.png")
    (data / f"{number:02d}.txt").write_text(prompt, encoding="utf-8")

config = TrainConfig(
    lora=LoraConfig(model="digits", rank=8),
    optimizer=OptimizerConfig(lr=5e-3, warmup=10, ema=0.95),
    run=RunConfig(steps=150, batch=12, seed=0, checkpoint_every=0, sample_every=0),
)
*_, finished = train(data, out, config)
print(f"the LoRA is in {finished.model}")

tuned = pipe.with_lora(finished.model)
sevens = [picture for made in (pipe, tuned) for picture in made("a seven", seed=0, count=4).images]
images.grid([images.enlarge(picture, 16) for picture in sevens], columns=4, gap=8).save("black-on-white.png")
