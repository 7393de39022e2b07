"""OpenVINO as an engine: torch's pictures, one export for the same weights, and what it refuses."""

import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from adapter_files import kohya
from latent_model import latent_model
from tiny_model import tiny_model
from unnoise.errors import InputError
from unnoise.networks.unet import openvino
from unnoise.pipelines import Interval, Scale, TextToImage

if find_spec("openvino") is None:  # an import here would bring its telemetry, and hide whether ours does
    pytest.skip("openvino is not installed", allow_module_level=True)
OPTIONS = {"steps": 4, "seed": 7, "scheduler": "DPM++ 2M"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNNOISE_CACHE", str(folder))
        yield folder / "openvino"


@pytest.fixture(scope="module")
def pair():
    pipe = TextToImage(tiny_model())
    return pipe, pipe.with_engine("openvino")


def test_it_makes_torchs_picture_of_every_size_and_batch_from_one_export(pair, cache):
    """The difference is rounding in float32."""
    pipe, other = pair
    for options in (
        {"prompt": "a seven"},
        {"prompt": ["a seven", "a red apple"], "width": 12, "height": 16},
        {"prompt": "a seven", "guidance": Interval(Scale(3.0), 0.2, 3.0)},
    ):
        theirs, ours = (made(**OPTIONS, **options).arrays for made in (pipe, other))
        assert np.abs(np.stack(theirs) - np.stack(ours)).max() < 1e-5
    (export,) = cache.iterdir()
    assert (export / "unet.xml").read_text().count('type="ConvolutionBackpropData"') == 1  # doubling, at once


def test_another_process_finds_the_export(pair, cache, monkeypatch):
    """Equal weights have an equal name, so a second copy of the model exports nothing."""
    pair[1]("a seven", **OPTIONS)
    monkeypatch.setattr(openvino, "building_folder", None)
    again = TextToImage(tiny_model()).with_engine("openvino")("a seven", **OPTIONS).arrays[0]
    assert np.abs(again - pair[0]("a seven", **OPTIONS).arrays[0]).max() < 1e-5


HEARING = """
    import gc, signal, sys
    from tiny_model import tiny_model
    from unnoise.pipelines import TextToImage

    made = [TextToImage(tiny_model()).with_engine("openvino") for _ in range(2)]
    for pipe in made:
        pipe("a seven", steps=1, seed=0)
    while made:  # the first one first
        pipe = made.pop(0)
        del pipe
        gc.collect()
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("heard", "openvino_telemetry" in sys.modules)
"""


def test_a_process_hears_ctrl_c_after_models_are_let_go_and_sends_no_telemetry(monkeypatch):
    """OpenVINO changes where the thread keeps what signals need: it pointed to memory that was given back."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", textwrap.dedent(HEARING)]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "heard False\n"


def test_other_weights_have_another_export(pair):
    changed = tiny_model().network
    before = openvino.folder_of(changed, masked=True)
    with torch.no_grad():
        changed.conv_in.bias[0] += 1.0
    assert openvino.folder_of(changed, masked=True) != before
    assert openvino.folder_of(changed.bfloat16(), masked=True) != before


def test_latents_are_denoised_by_it_and_decoded_by_torch():
    pipe = TextToImage(latent_model())
    theirs, ours = (made("a seven", **OPTIONS).arrays[0] for made in (pipe, pipe.with_engine("openvino")))
    assert np.abs(theirs - ours).max() < 1e-4


@pytest.mark.parametrize("live", [False, True])
def test_a_lora_is_in_the_export_of_the_changed_weights(pair, tmp_path, live):
    path = kohya(pair[0].model, tmp_path / "ink.safetensors")
    theirs, ours = (made.with_lora(path, live=live)("a seven", **OPTIONS).arrays[0] for made in pair)
    assert np.abs(theirs - ours).max() < 1e-5
    assert np.abs(theirs - pair[0]("a seven", **OPTIONS).arrays[0]).max() > 1e-3


@pytest.mark.parametrize("cache", ["every=3", "every=2, blocks=1", "turn=0.5"])
def test_with_a_cache_it_makes_torchs_picture_too(cache):
    """Whole and quick answers, with both prompts and with one; the difference is rounding in float32."""
    pipe = TextToImage(tiny_model())
    for guidance in (3.0, Interval(Scale(3.0), 0.2, 3.0)):
        options = OPTIONS | {
            "prompt": ["a seven", "a red apple"],
            "steps": 8,
            "cache": cache,
            "guidance": guidance,
        }
        theirs, ours = (np.stack(made(**options).arrays) for made in (pipe, pipe.with_engine("openvino")))
        assert np.abs(theirs - ours).max() < 1e-5
    assert np.abs(theirs - np.stack(pipe(**options | {"cache": None}).arrays)).max() > 1e-4


def test_what_it_cannot_do_is_refused_in_a_sentence(pair):
    with pytest.raises(InputError, match="give one of torch, openvino, openvino-int8"):
        pair[0].with_engine("abacus")


def test_without_the_package_it_says_what_to_install(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"unnoise\[openvino\]"):
        pair[0].with_engine("openvino")
