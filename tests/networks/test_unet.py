"""What holds of every UNet, whatever its settings."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks import UNet, UNetConfig
from unnoise.networks.unet import published
from unnoise.networks.unet.embedding import sinusoids
from unnoise.networks.unet.residual import Upsample

TEXT = UNetConfig(
    in_channels=1,
    out_channels=1,
    widths=(16, 32),
    blocks=1,
    attention=(0, 2),
    heads=4,
    norm_groups=8,
    text_width=12,
    pooled_width=10,
    time_scale=1000.0,
)
PLAIN = UNetConfig(
    widths=(16, 32), blocks=(1, 2), attention=(0, 1), norm_groups=8, resample="conv_same", sinusoid="ddpm"
)
ADM = UNetConfig(
    out_channels=6,
    widths=(16, 32),
    attention=(1, 1),
    norm_groups=8,
    head_width=8,
    scale_shift=True,
    resample="residual",
    classes=10,
)
FOLDED = dataclasses.replace(PLAIN, patch=2, dropout=(0.0, 0.1))
CONFIGS = {"text": TEXT, "plain": PLAIN, "adm": ADM, "folded": FOLDED}

every_kind = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def awake(config, seed=0):
    """A network whose zero layers are drawn too: a fresh one answers zero to everything."""
    torch.manual_seed(seed)
    unet = UNet(config).eval()
    for parameter in unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return unet


def inputs(config, batch=2, size=8):
    torch.manual_seed(1)
    given = {"x": torch.randn(batch, config.in_channels, size, size), "time": torch.rand(batch) * 900}
    if config.text_width:
        given["text"] = torch.randn(batch, 5, config.text_width)
        given["text_mask"] = torch.arange(5) < torch.arange(batch)[:, None] + 3
    if config.pooled_width:
        given["pooled"] = torch.randn(batch, config.pooled_width)
    if config.classes:
        given["labels"] = torch.arange(batch)
    return given


@every_kind
def test_a_picture_of_the_same_size_comes_out_in_the_dtype_that_went_in(config):
    given = inputs(config)
    sample = awake(config).bfloat16()(**given).sample
    assert sample.shape == (2, config.out_channels, 8, 8)
    assert sample.dtype == torch.float32
    assert sample.isfinite().all()


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_pictures_are_answered_by_none(dtype, learning):
    with torch.set_grad_enabled(learning):
        sample = UNet(TEXT).to(dtype)(**inputs(TEXT, batch=0)).sample
    assert sample.shape == (0, TEXT.out_channels, 8, 8)


@every_kind
def test_a_fresh_network_answers_zero(config):
    assert not UNet(config)(**inputs(config)).sample.any()


@every_kind
def test_the_gradient_reaches_every_parameter(config):
    unet = awake(config).train()
    unet(**inputs(config)).sample.square().sum().backward()
    assert [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_kind
@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other(config):
    unet, given = awake(config), inputs(config, batch=3)
    together = unet(**given).sample
    alone = torch.cat(
        [unet(**{name: value[i : i + 1] for name, value in given.items()}).sample for i in range(3)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@every_kind
@torch.no_grad()
def test_the_memory_order_of_the_input_does_not_matter(config):
    unet, given = awake(config), inputs(config)
    swapped = given | {"x": given["x"].to(memory_format=torch.channels_last)}
    torch.testing.assert_close(unet(**given).sample, unet(**swapped).sample, atol=1e-6, rtol=1e-6)


@every_kind
def test_it_compiles_whole_and_computes_the_same(config):
    unet, given = awake(config), inputs(config)
    torch.compiler.reset()
    whole = torch.compile(unet, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(**given).sample, unet(**given).sample, atol=1e-6, rtol=1e-6)


def test_bfloat16_training_compiles_whole_too():
    unet = awake(PLAIN).bfloat16()
    torch.compiler.reset()
    whole = torch.compile(unet, backend="eager", fullgraph=True)
    whole(**inputs(PLAIN)).sample.sum().backward()
    assert all(p.grad is not None for p in unet.parameters())


@every_kind
def test_a_config_survives_json(config):
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@torch.no_grad()
def test_a_remembered_prompt_says_the_same_as_the_prompt():
    unet, given = awake(TEXT), inputs(TEXT)
    direct = unet(**given).sample
    memory = unet.remember(given.pop("text"), given.pop("text_mask"))
    torch.testing.assert_close(unet(**given, text=memory).sample, direct, atol=1e-6, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("attention", [(1, 1), (0, 1), (0, 0)])
def test_two_prompts_about_one_picture_are_answered_as_by_two_pictures(attention):
    """What comes before the first prompt is heard is computed once a picture, and the answers are the same."""
    config = dataclasses.replace(TEXT, attention=attention, pooled_width=0)
    unet, given = awake(config), inputs(config, batch=6)
    given |= {"x": given["x"][:3], "time": given["time"][:3]}
    answers = unet(**given).sample
    given |= {"x": given["x"].repeat(2, 1, 1, 1), "time": given["time"].repeat(2)}
    torch.testing.assert_close(answers, unet(**given).sample, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(answers[:3], answers[3:], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masked_tokens_have_no_influence_even_if_not_numbers(dtype):
    unet, given = awake(TEXT).to(dtype), inputs(TEXT)
    other = given["text"].masked_fill(~given["text_mask"][..., None], 1e4)
    assert torch.equal(unet(**given).sample, unet(**given | {"text": other}).sample)


@torch.no_grad()
def test_a_prompt_without_a_readable_token_adds_nothing():
    unet, given = awake(TEXT), inputs(TEXT)
    nothing = given | {"text_mask": torch.zeros(2, 5, dtype=torch.bool)}
    changed = nothing | {"text": given["text"] + 1}
    assert unet(**nothing).sample.isfinite().all()
    assert torch.equal(unet(**nothing).sample, unet(**changed).sample)


@torch.no_grad()
def test_text_pooled_text_time_and_class_each_matter():
    for config, names in ((TEXT, ("text", "pooled", "time")), (ADM, ("labels", "time"))):
        unet, given = awake(config), inputs(config)
        for name in names:
            changed = given | {name: given[name] + 1}
            assert not torch.equal(unet(**given).sample, unet(**changed).sample), name


@torch.no_grad()
def test_one_time_serves_a_whole_batch_and_time_scale_multiplies_it():
    unet, given = awake(PLAIN), inputs(PLAIN)
    each = unet(given["x"], torch.full((2,), 7.0)).sample
    for one in (7, 7.0, torch.tensor(7.0), torch.tensor([7.0], dtype=torch.float64)):
        assert torch.equal(unet(given["x"], one).sample, each)
    unet.config = dataclasses.replace(PLAIN, time_scale=1000.0)
    assert torch.equal(unet(given["x"], 0.0078125 * 0.896).sample, each)


def test_sinusoids_are_those_of_the_two_lineages():
    time = torch.tensor([0.0, 500.0], dtype=torch.float64)
    for convention, step in (("adm", 1 / 4), ("ddpm", 1 / 3)):
        angle = time[:, None] * 10000.0 ** (-step * torch.arange(4))
        parts = (angle.sin(), angle.cos()) if convention == "ddpm" else (angle.cos(), angle.sin())
        # 500 in float32 leaves 3e-5 of an angle
        torch.testing.assert_close(
            sinusoids(time, 8, convention), torch.cat(parts, 1).float(), atol=2e-4, rtol=0
        )


def test_activation_dropout_is_silent_at_evaluation():
    unet, given = awake(dataclasses.replace(PLAIN, dropout=0.5)), inputs(PLAIN)
    assert torch.equal(unet(**given).sample, unet(**given).sample)
    assert not torch.equal(unet.train()(**given).sample, unet(**given).sample)


@pytest.mark.parametrize(("width", "height"), [(33, 32), (32, 31), (0, 32)])
def test_a_size_that_the_levels_cannot_halve_is_refused_with_the_nearest(width, height):
    with pytest.raises(InputError, match="multiples of 4; the nearest sizes are") as error:
        awake(FOLDED)(torch.zeros(1, 3, height, width), 0)
    assert f"{width}x{height}" in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize("size", [(10, 14), (9, 14), (10, 13), (9, 13)])
def test_doubling_to_an_odd_size_is_that_of_nearest_pixels(size):
    torch.manual_seed(0)
    layer, x = Upsample(8), torch.randn(2, 8, 5, 7)
    expected = layer.conv(torch.nn.functional.interpolate(x, size=size, mode="nearest"))
    torch.testing.assert_close(layer(x, size), expected)


def test_nearest_sizes_are_named():
    with pytest.raises(InputError, match="nearest sizes are 32x28 and 36x28"):
        awake(FOLDED)(torch.zeros(1, 3, 28, 33), 0)
    with pytest.raises(InputError, match="multiples of 2; the nearest sizes are 32x28 and 34x28"):
        awake(dataclasses.replace(FOLDED, resample="conv"))(torch.zeros(1, 3, 28, 33), 0)


@torch.no_grad()
@pytest.mark.parametrize("plain", [PLAIN, FOLDED, TEXT], ids=["plain", "folded", "text"])
def test_convolutions_halve_and_double_every_size(plain):
    config = dataclasses.replace(plain, resample="conv")
    unet, given = awake(config), inputs(config)
    patch = config.patch
    given["x"] = torch.randn(
        2, config.in_channels, 9 * patch, 15 * patch, generator=torch.Generator().manual_seed(4)
    )
    assert unet(**given).sample.shape == (2, config.out_channels, 9 * patch, 15 * patch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 3, 8, 8)}, "x has shape"),
        ({"x": torch.zeros(1, 8, 8)}, "x has shape"),
        ({"text": None}, "text is missing"),
        ({"pooled": None}, "pooled is missing"),
        ({"labels": torch.zeros(2)}, "labels was given"),
        ({"text": torch.zeros(2, 5, 7)}, "text has shape"),
        ({"text": torch.zeros(3, 5, 12)}, "text has 3 rows for 2 pictures"),
        ({"text_mask": torch.ones(2, 5, dtype=torch.int64)}, "text_mask is torch.int64"),
        ({"text_mask": torch.ones(2, 4, dtype=torch.bool)}, r"text_mask is torch.bool of shape \(2, 4\)"),
        ({"pooled": torch.zeros(2, 9)}, r"pooled has shape \(2, 9\)"),
        ({"time": torch.zeros(3)}, "time has shape"),
    ],
)
def test_wrong_input_is_refused_in_words(change, message):
    with pytest.raises(InputError, match=message):
        awake(TEXT)(**inputs(TEXT) | change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": ()}, r"widths is \(\)"),
        ({"widths": 64}, "widths is 64"),
        ({"widths": (32.0,)}, "widths is"),
        ({"widths": (48,)}, "a multiple of norm_groups"),
        ({"widths": (0,)}, "widths is"),
        ({"attention": [1]}, "one a level"),
        ({"attention": 1}, "attention is 1"),
        ({"attention": (0, -1, 0, 0)}, "attention is"),
        ({"blocks": 2.5}, "blocks is 2.5"),
        ({"blocks": [1]}, "one a level"),
        ({"dropout": "x"}, "dropout is 'x'"),
        ({"widths": (15,), "norm_groups": 5}, "even"),
        ({"attention": (1,)}, "one a level"),
        ({"attention": (0, 2, 0, 0)}, "depth 2"),
        ({"heads": 3}, "do not split"),
        ({"head_width": 96}, "do not split"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"blocks": 0}, "blocks is 0"),
        ({"blocks": ()}, "one a level"),
        ({"dropout": ()}, "one a level"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"patch": 1.5}, "patch is 1.5"),
        ({"norm_eps": "x"}, "norm_eps is 'x'"),
        ({"time_scale": math.nan}, "time_scale is nan"),
        ({"resample": "magic"}, "resample is 'magic'"),
        ({"sinusoid": "x"}, "sinusoid is 'x'"),
    ],
)
def test_settings_that_cannot_be_built_are_refused_in_words(settings, message):
    with pytest.raises(InputError, match=message):
        UNetConfig(**settings)


def test_lists_are_the_tuples_that_they_look_like():
    """As lists, one too short was passed over, and the configuration had no hash."""
    listed = UNetConfig(**{**TEXT.to_dict(), "dropout": [0.0, 0.1]})
    assert listed == dataclasses.replace(TEXT, dropout=(0.0, 0.1))
    assert hash(listed) == hash(dataclasses.replace(TEXT, dropout=(0.0, 0.1)))


def test_groups_of_a_single_number_are_normed_to_the_bias():
    unet = awake(UNetConfig(widths=(8, 8), norm_groups=8, attention=(0, 0)))
    assert unet(torch.zeros(1, 3, 2, 2), 0.0).sample.isfinite().all()


@pytest.mark.parametrize("pixels", [8, 64])
def test_one_prompt_serves_a_whole_batch(pixels):
    """Also where attention is taken in blocks, which reads the prompts row by row."""
    unet = awake(dataclasses.replace(TEXT, pooled_width=0, attention=(1, 0))).bfloat16()
    x, text = torch.randn(2, 1, pixels, pixels), torch.randn(1, 160, 12)
    mask = torch.arange(160)[None] < 3
    with torch.no_grad():
        one = unet(x, 0.5, text, mask).sample
        each = unet(x, 0.5, text.expand(2, -1, -1), mask.expand(2, -1)).sample
    assert torch.equal(one, each)


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(InputError, match="'depth' is not a setting"):
        UNetConfig.from_dict({"depth": 3})


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (published.ddpm_cifar10(), 35_746_307),
        (published.stable_diffusion_1(), 859_520_964),
        (published.stable_diffusion_2(), 865_910_724),
        (published.stable_diffusion_xl(), 2_567_463_684),
        (published.adm(), 295_904_454),
    ],
    ids=["ddpm", "sd1", "sd2", "sdxl", "adm"],
)
def test_published_networks_have_their_published_size(config, parameters):
    with torch.device("meta"):
        unet = UNet(config)
    assert sum(p.numel() for p in unet.parameters()) == parameters
