"""A model grown to twice the side begins as the old one at half the size, as far as its layers reach."""

import argparse
import re
import shlex

import pytest
import torch
from torch.nn import functional as F

import emoji_recipe
from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.cli import train
from unnoise.cli.parser import parse
from unnoise.networks.unet import UNet, UNetConfig
from unnoise.networks.unet.embedding import sinusoids
from unnoise.process import EDM, Level
from unnoise.training import settings

grow = emoji_recipe.module("grow")
CONFIG = UNetConfig(
    widths=(32, 48),
    blocks=1,
    attention=(0, 1),
    heads=2,
    norm_groups=8,
    scale_shift=True,
    time_scale=377.0,  # 1000 over the span of EDM's times, as a trained model has it
    patch=2,
)


@pytest.fixture
def old():
    """Of 16x16 pixels; no weight is zero, not those either with which training begins as zero."""
    torch.manual_seed(1)
    network = UNet(CONFIG).eval().requires_grad_(False)
    for tensor in network.parameters():
        torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.3)
    return Model(network, EDM(), (3, 16, 16), prediction="edm")


@pytest.fixture
def new(old):
    return grow.grown(old)


def time(sigma):
    return EDM().network_time(Level(sigma, 1.0, sigma))


def half(x):
    """As the old levels get a picture: means of 2x2 pixels, a little louder."""
    return grow.LOUDER * F.avg_pool2d(x, 2)


def within(network, x):
    """What the grown network's outer level hands in."""
    outer = network.down_blocks[0]
    emb = torch.randn(len(x), 4 * network.config.widths[0])
    return outer(network.enter(x), emb, None)[0]


@pytest.mark.parametrize("sigma", [80.0, 3.0, 0.5, 0.01])
def test_the_old_levels_hear_half_the_noise(old, new, sigma):
    def heard(model, level):
        told = torch.tensor([time(level) * CONFIG.time_scale])
        return model.network.time_embedding(sinusoids(told, CONFIG.widths[0]))

    # angles of some hundred radians are rounded to 3e-5 in float32
    torch.testing.assert_close(heard(new, sigma), heard(old, sigma / 2), atol=5e-5, rtol=0)
    assert (heard(new, sigma) - heard(old, sigma)).abs().max() > 0.1


def test_handed_in_is_the_first_feature_map_but_for_its_sixth_row_and_column(old, new):
    """Its 3x3 patches are 6x6 pixels, two apart; the fifth row and column count for the sixth, out of reach."""
    x = torch.randn(2, 3, 32, 32)
    patches = old.network.conv_in.weight.unflatten(1, (3, 2, 2))  # out, colour, y, x, row, column
    pixels = patches.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    exact = F.conv2d(half(x), pixels, old.network.conv_in.bias, stride=2, padding=2)
    torch.testing.assert_close(exact, old.network.enter(half(x)), atol=1e-4, rtol=0)  # it is that layer
    for dim in (2, 3):
        pixels.select(dim, 4).add_(pixels.select(dim, 5))
        pixels.select(dim, 5).zero_()
    folded = F.conv2d(half(x), pixels, old.network.conv_in.bias, stride=2, padding=2)
    torch.testing.assert_close(within(new.network, x), folded, atol=1e-4, rtol=0)
    assert (folded - exact).abs().max() > 0.1


def test_handed_in_is_exact_where_squares_of_four_pixels_are_alike(old, new):
    x = F.interpolate(torch.randn(2, 3, 8, 8), scale_factor=4.0)
    torch.testing.assert_close(within(new.network, x), old.network.enter(half(x)), atol=1e-4, rtol=0)


def test_handed_out_is_the_mean_of_the_four_pixels_of_each_old_patch(old, new):
    """All of the network, of a picture that is handed in exactly, where the last layer looks at no neighbours."""
    weight = old.network.conv_out.weight
    rim = torch.ones(3, 3, dtype=torch.bool)
    rim[1, 1] = False
    weight[:, :, rim] = 0
    grown = grow.grown(old).network
    x = F.interpolate(torch.randn(2, 3, 8, 8), scale_factor=4.0)
    for sigma in (20.0, 0.4):
        before = old.network(half(x), time(sigma / 2)).sample
        shown = F.interpolate(F.avg_pool2d(before, 2), scale_factor=4.0)
        torch.testing.assert_close(grown(x, time(sigma)).sample, shown, atol=1e-4, rtol=0)
        assert shown.std() > 0.1


def test_a_grown_model_is_saved_and_found_again(old, new, tmp_path):
    made = checkpoints.load(checkpoints.save(new, tmp_path / "grown"))
    assert made.shape == (3, 32, 32)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(made.network(x, 1.0).sample, new.network(x, 1.0).sample)


def test_the_commands_of_the_recipe_lead_to_the_network_that_it_asks_for():
    """README.md trains with `$HALF` first, and emoji.toml is what growing makes of that."""
    readme = (emoji_recipe.RECIPE / "README.md").read_text(encoding="utf-8")
    half = shlex.split(re.search(r'^HALF="([^"]+)"$', readme, re.MULTILINE)[1])
    whole = settings.read(emoji_recipe.RECIPE / "emoji.toml").model
    small = settings.override(settings.read(emoji_recipe.RECIPE / "emoji.toml"), half[1::2]).model
    before, after = (UNetConfig.from_dict(part.network) for part in (small, whole))
    assert set(half[::2]) == {"--set"}
    assert 2 * small.size == whole.size
    assert grow.outer_level(before) == after


def test_a_gpu_trains_the_network_that_was_grown_and_the_shipped_one_can_go_on():
    gpu, grown = (
        settings.read(emoji_recipe.RECIPE / name).model for name in ("emoji-gpu.toml", "emoji.toml")
    )
    assert (gpu.size, gpu.network, gpu.text) == (grown.size, grown.network, grown.text)
    shipped = checkpoints.load("emoji")
    assert shipped.shape == (3, gpu.size, gpu.size)
    assert list(shipped.network.config.widths) == gpu.network["widths"]


def test_going_on_is_told_by_the_settings_file_and_by_what_is_typed(tmp_path):
    go_on = emoji_recipe.module("go_on")
    options = argparse.Namespace(out=tmp_path, changes=["run.batch=8"])
    _, _, _, *words = go_on.command(options, 30, "--set=run.log_every=1")
    wanted = train.config(parse(words))
    assert (wanted.finetune.model, wanted.finetune.text_encoder) == ("emoji", True)
    assert (wanted.run.steps, wanted.run.batch, wanted.run.log_every, wanted.loss.mean) == (30, 8, 1, -0.1)
