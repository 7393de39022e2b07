"""A DoRA beside a model of grey pictures, whose last layer gives one channel: its one number is a row's magnitude."""

from PIL import Image

import unnoise
from tiny_model import save_tiny
from unnoise import training
from unnoise.training import settings


def test_what_a_dora_of_a_grey_model_learned_is_loaded_whole(tmp_path):
    data, base = tmp_path / "data", save_tiny(tmp_path / "base")
    data.mkdir()
    Image.linear_gradient("L").resize((8, 8)).save(data / "0.png")
    asked = [f"lora.model={base}", "lora.dora=true", "run.steps=1", "run.batch=1", "run.sample_every=0"]
    config = settings.override(training.TrainConfig(), [*asked, "run.device=cpu"])
    *_, finished = training.train(data, tmp_path / "run", config)
    pipe = unnoise.load(base).with_lora(finished.model)
    assert pipe("a seven", steps=1, seed=1).images
