"""OpenVINO beside torch: the same picture in float32, of miniature Stable Diffusion models and of `emoji`."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

import miniature_sd
import unnoise
from unnoise.networks import UNet, UNetConfig
from unnoise.networks.unet import openvino

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


def test_a_graph_made_after_another_was_let_go_is_asked_itself(monkeypatch):
    """More shapes than are kept: a request for a graph that is gone answered for the next at its address."""

    class Graph:
        def __init__(self, shape):
            self.shape = shape

        def create_infer_request(self):
            shape = self.shape

            class Request:
                def infer(self, arrays, share_inputs):
                    assert arrays[0].shape == shape
                    return {"sample": arrays[0]}

            return Request()

    monkeypatch.setattr(openvino, "library", lambda: None)
    monkeypatch.setattr(openvino, "compile_for", lambda unet, part, inputs, memory: Graph(inputs[0].shape))
    network = openvino.Compiled(UNet(UNetConfig(widths=(8,), norm_groups=8)))
    for side in range(1, 20):
        assert network(torch.zeros(1, 3, side, side), 0.0).sample.shape[2] == side


@pytest.mark.parametrize("cache", [None, "every=2"])
def test_emoji(cache):
    pipe = unnoise.load("emoji", dtype=torch.float32)
    assert difference(pipe, "a red apple, 3d", steps=4, cache=cache) < 2e-4
