"""Latents become pictures: by the decoder, alone each, and by a quick linear look."""

import pytest
import torch
from torch.nn import functional as F

from latent_model import latent_model
from unnoise import checkpoints
from unnoise.errors import InputError, NonFiniteError
from unnoise.networks import AutoEncoder
from unnoise.pipelines import TextToImage
from unnoise.pipelines.latents import Look, decode


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_sizes_are_told_in_pixels_and_latents_in_their_own():
    pipe = TextToImage(latent_model())
    made = pipe("a seven", seed=1)
    assert made.images[0].size == (16, 16)
    assert made.recipes[0].width == 16
    assert pipe("a seven", seed=1, width=24, height=8).images[0].size == (24, 8)
    assert pipe("a seven", seed=1, width=22, height=10).images[0].size == (22, 10)  # latents of 11x5
    with pytest.raises(
        InputError, match="width is 11; this model makes multiples of 2, the nearest are 10 and 12"
    ):
        pipe("a seven", width=11)
    assert (pipe.model.unit, pipe.model.changed(engine="openvino").unit) == (2, 4)
    with pytest.raises(InputError, match=r"give unit noise of shape \[1, 4, 8, 8\]"):
        pipe("a seven", latents=noise(1, 4, 16, 16))


def test_a_picture_does_not_depend_on_its_batch():
    model = latent_model()
    latents = noise(3, 4, 8, 8)
    together = decode(model, latents)
    assert torch.equal(together[1:2], decode(model, latents[1:2]))


def test_the_look_is_nearly_the_best_linear_one():
    model = latent_model()
    for name, weight in model.autoencoder.decoder.named_parameters():
        if name.endswith(("conv2.weight", "attention.out.weight")):  # what is left is the nearly linear path
            weight.zero_()
    latents = F.interpolate(noise(4, 4, 4, 4), scale_factor=4)
    colours = F.avg_pool2d(decode(model, latents), 2).movedim(1, -1).reshape(-1, 3)
    known = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).movedim(1, -1).reshape(-1, 5)
    best = known @ torch.linalg.lstsq(known, colours).solution
    look = Look(model)
    error, least = ((seen - colours).square().mean() for seen in (known @ look.map, best))
    assert error < 1.3 * least < 0.7 * colours.var()
    assert look(latents)[0].size == (32, 32)


def test_looks_ask_the_decoder_once_a_run_and_for_a_small_latent(monkeypatch):
    asked, plain = [], AutoEncoder.decode
    monkeypatch.setattr(AutoEncoder, "decode", lambda self, x: (asked.append(x.shape), plain(self, x))[1])
    for step in TextToImage(latent_model()).denoise("a seven", steps=6, seed=1, width=64, height=64):
        assert step.preview().size == (64, 64)
    assert [tuple(shape) for shape in asked] == [(1, 4, 16, 16)]


def test_half_precision_that_overflows_is_asked_again_in_float32():
    model = latent_model()
    model.autoencoder.half()
    model.autoencoder.decoder.norm_out.weight.fill_(6e4)
    model.autoencoder.decoder.conv_out.weight.mul_(1e-4)
    picture = decode(model, noise(1, 4, 8, 8))
    assert bool(torch.isfinite(picture).all())
    assert model.autoencoder.dtype == torch.float16


def test_a_decoder_without_finite_numbers_is_told():
    model = latent_model()
    model.autoencoder.decoder.conv_out.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="the autoencoder left the finite numbers"):
        TextToImage(model)("a seven", seed=1)


def test_our_folders_hold_no_autoencoder(tmp_path):
    with pytest.raises(InputError, match="no autoencoder"):
        checkpoints.save(latent_model(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_encoders_that_do_not_make_up_the_text_s_width_are_refused():
    model = latent_model()
    tower = checkpoints.Tower(model.text_encoder, model.tokenizer)
    with pytest.raises(InputError, match=r"reads text of width 16; its text encoders give 16 \+ 16"):
        latent_model(more_text=(tower,))
