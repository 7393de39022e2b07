"""OpenVINO beside torch: the same picture in float32, of miniature Stable Diffusion models and of `emoji`."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

import miniature_sd
import unnoise

pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))


def difference(pipe, prompt, **options):
    theirs, ours = (
        made(prompt, seed=7, **options).arrays[0] for made in (pipe, pipe.with_engine("openvino"))
    )
    return np.abs(theirs - ours).max()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_stable_diffusion_in_miniature(family, tmp_path):
    """20 steps of rounding in another order, as between this package and diffusers."""
    made = miniature_sd.pipeline(family, tmp_path)
    folder = miniature_sd.save(made, tmp_path / "model")
    pipe = unnoise.load(folder, dtype=torch.float32)
    assert difference(pipe, "a red apple", negative="blurry", steps=20, guidance=5.0) < 2e-4


@pytest.mark.parametrize("cache", [None, "every=2"])
def test_emoji(cache):
    pipe = unnoise.load("emoji", dtype=torch.float32)
    assert difference(pipe, "a red apple, 3d", steps=4, cache=cache) < 2e-4
