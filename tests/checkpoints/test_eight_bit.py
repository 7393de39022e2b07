"""Eight bits a weight: how near they come back, what stays exact, what a file must hold."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from unnoise import checkpoints
from unnoise.checkpoints import eight_bit
from unnoise.errors import CheckpointError


def test_each_weight_comes_back_within_half_a_step_of_its_channel():
    torch.manual_seed(0)
    weight = torch.randn(64, 32, 3, 3) * torch.logspace(-4, 1, 64)[:, None, None, None]
    packed = eight_bit.pack({"w": weight, "b": torch.randn(64)})
    assert (packed["w"].dtype, packed["w.scale"].dtype, packed["b"].dtype) == (
        torch.int8,
        torch.float16,
        torch.float16,
    )
    back = eight_bit.unpack(packed)
    step = weight.flatten(1).abs().amax(1) / 127
    # a scale in float16 is off by at most a 2048th; below 6e-5 by its own spacing
    bound = 0.5 * step + 127 * (step / 2048 + 3e-8)
    assert bool(((back["w"] - weight).flatten(1).abs() <= bound[:, None]).all())
    assert set(back) == {"w", "b"}


def test_zeros_stay_zeros():
    assert not eight_bit.unpack(eight_bit.pack({"w": torch.zeros(64, 64)}))["w"].any()


def test_a_model_kept_in_eight_bits_draws_nearly_the_same(tmp_path):
    model = checkpoints.load("digits")
    folder = checkpoints.save(model, tmp_path / "small", dtype=torch.int8)
    half = checkpoints.save(model, tmp_path / "half", dtype=torch.float16)
    sizes = [(each / "weights.safetensors").stat().st_size for each in (folder, half)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = checkpoints.load(folder)
    x, time = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.8])
    text, mask = torch.randn(2, 12, 32), torch.ones(2, 12, dtype=torch.bool)
    told = {"text": text, "text_mask": mask, "pooled": torch.randn(2, 32)}
    with torch.inference_mode():
        exact, near = (each.network(x, time, **told).sample for each in (model, loaded))
    assert float((near - exact).norm() / exact.norm()) < 0.02


def test_a_scale_too_few_is_refused_by_name(tmp_path):
    folder = checkpoints.save(checkpoints.load("digits"), tmp_path / "small", dtype=torch.int8)
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(eight_bit.SCALE))
    del tensors[name]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="is I8 of shape"):
        checkpoints.load(folder)
    assert json.loads((folder / "model.json").read_text())
