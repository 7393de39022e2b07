"""Things of another kind in the place of a network, a configuration, a device or a text."""

import pytest
import torch

from tiny_model import tiny_model, tokenizer
from unnoise import checkpoints, networks, text
from unnoise.errors import InputError

MODEL = tiny_model()


def model(**changes):
    return checkpoints.Model(**{**vars(MODEL), **changes})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: model(network=torch.nn.Linear(1, 1)),
            r"network is Linear.*; give a UNet, or sample any other through",
        ),
        (lambda: model(network=None), "network is None; give a UNet"),
        (lambda: model(schedule="cosine"), "schedule is 'cosine'; give a NoiseSchedule"),
        (lambda: model(shape=(1, 8)), r"shape is \(1, 8\); give a list of 3"),
        (lambda: model(shape=(1, 8, 8.5)), r"shape is 8\.5; give a whole number"),
        (lambda: model(variance="medium"), "variance is 'medium'; give one of"),
        (lambda: model(prediction="eps"), "prediction is 'eps'; give one of"),
        (lambda: networks.UNet((32, 64)), r"config is \(32, 64\); give an UNetConfig"),
        (lambda: networks.AutoEncoder(None), "config is None; give an AutoEncoderConfig"),
        (lambda: networks.TextEncoder({}), r"config is \{\}; give a TextEncoderConfig"),
        (lambda: networks.fast_dtype("nonsense"), "device is 'nonsense'; give 'cpu' or 'cuda'"),
        (lambda: text.embed(tokenizer(), MODEL.text_encoder, "a seven"), "encoder is .*; give a TextEncoder"),
        (lambda: text.embed(MODEL.text_encoder, None, "a seven"), "tokenizer is None; give the model's own"),
        (
            lambda: text.CompactTokenizer.from_captions("a seven"),
            r"captions is 'a seven'; give a list of texts",
        ),
        (lambda: text.CompactTokenizer.from_captions(None), "captions is None; give a list of texts"),
        (
            lambda: text.Prompt.read("a [b:c:0.5]").at(None, 4),
            "step is None; give a whole number of at least 0",
        ),
        (lambda: text.Prompt.read("a [b:c:0.5]").at(0, 0), "steps is 0; give a whole number of at least 1"),
    ],
)
def test_what_is_of_another_kind_is_refused_by_its_name(make, says):
    with pytest.raises(InputError, match=says):
        make()
