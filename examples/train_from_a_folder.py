"""From a folder of pictures to a model, and a picture from it.

python examples/train_from_a_folder.py

The pictures are drawn here, so that nothing has to be fetched: discs in three colours. Some seconds of training are
enough to see the colours; the same lines with more steps and your own folder are a real run.
"""

from pathlib import Path
from random import Random
from tempfile import mkdtemp

from PIL import Image, ImageDraw
from tqdm import tqdm

import unnoise
from unnoise import images
from unnoise.training import Finished, ModelConfig, OptimizerConfig, Progress, RunConfig, TrainConfig, train

COLOURS = ("red", "gold", "blue")


def draw_pictures(folder: Path) -> None:
    """Sixty pictures for each colour, each with its caption in a text file beside it."""
    random = Random(0)
    for number in range(180):
        colour = COLOURS[number % 3]
        picture = Image.new("RGB", (8, 8), "white")
        left, top = random.randint(0, 2), random.randint(0, 2)
        ImageDraw.Draw(picture).ellipse((left, top, left + 5, top + 5), colour)
        picture.save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text(f"a {colour} disc\n", encoding="utf-8")


work = Path(mkdtemp())
data, out = work / "pictures", work / "run"
data.mkdir()
draw_pictures(data)

config = TrainConfig(
    model=ModelConfig(size=8, network={"widths": [32, 32], "blocks": 1, "attention": [0, 0], "heads": 2}),
    optimizer=OptimizerConfig(lr=2e-3, warmup=20, ema=0.97),
    run=RunConfig(steps=300, batch=32, seed=0, checkpoint_every=0, sample_every=0),
)
with tqdm(total=config.run.steps, desc="training") as bar:
    for event in train(data, out, config):
        if isinstance(event, Progress):
            bar.set_postfix_str(f"loss {event.loss:.3f}")
            bar.update(event.step - bar.n)
        if isinstance(event, Finished):
            print(f"the model is in {event.model}")

pipe = unnoise.load(out)
result = pipe([f"a {colour} disc" for colour in COLOURS], seed=0, guidance=2.0)
images.enlarge(images.grid(result.images, columns=3), 16).save("discs.png")
