"""OpenVINO in eight bits: near the exact picture, what it rounds to told by torch, kept once, and in the recipe."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import miniature_sd
import unnoise
from adapter_files import kohya
from latent_model import latent_model
from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import InputError
from unnoise.networks.unet import openvino
from unnoise.pipelines import Repeat, TextToImage, calibration, verify
from unnoise.process import Flow

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)
OPTIONS = {"steps": 4, "seed": 7, "scheduler": "DPM++ 2M"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNNOISE_CACHE", str(folder))
        patch.setattr(calibration, "MOST", 1)  # sooner
        patch.setattr(calibration, "STEPS", 4)
        yield folder / "openvino"


@pytest.fixture(scope="module")
def pair():
    pipe = TextToImage(tiny_model())
    return pipe, pipe.with_engine("openvino-int8")


def off(pipe, other, prompt="a seven", **options):
    """Root mean square of the difference over that of the exact picture about its mean."""
    exact, made = (np.stack(one(prompt, **OPTIONS | options).arrays) for one in (pipe, other))
    return float(np.sqrt(np.square(made - exact).mean()) / exact.std())


def kinds(network):
    """What the compiled graphs of a network compute in which type: ("Convolution", "u8"), ..."""
    told = [
        op.get_rt_info()
        for graph in openvino._compiled[network].values()
        for op in graph.get_runtime_model().get_ops()
    ]
    return {(one["layerType"].astype(str), one["runtimePrecision"].astype(str)) for one in told}


def test_the_picture_is_near_and_the_graph_is_of_whole_numbers(pair, cache):
    pipe, other = pair
    assert 0 < off(pipe, other) < 0.02
    assert 0 < off(pipe, other, ["a seven", "a red apple"], width=12, height=16) < 0.02
    assert {("Convolution", "u8"), ("FullyConnected", "u8")} <= kinds(other.model.network)
    assert len(list(cache.glob("*/unet.xml"))) == len(list(cache.glob("*.safetensors"))) == 1


def looks(pipe, prompt="a seven"):
    """What the network is asked along a run: (x, time), {text, pooled}."""
    network, found = pipe.model.network, []
    hook = network.register_forward_pre_hook(
        lambda _, given, named: found.append((given, named)), with_kwargs=True
    )
    pipe.denoise(prompt, **OPTIONS).samples()
    hook.remove()
    return found


def relative(made, exact):
    return float((made - exact).norm() / exact.norm())


@torch.inference_mode()
def errors(pipe, **options):
    """For each look: how far OpenVINO is from the exact answer, and from torch told to round as `Rounded` says."""
    network, spans = pipe.model.network, calibration.spans_of(pipe.model)
    whole, told = openvino.Compiled(network, spans=spans), openvino.in_float32(network, spans)
    for given, named in looks(pipe, **options):
        exact, made, as_told = (one(*given, **named).sample for one in (network, whole, told))
        yield relative(made, exact), relative(made, as_told)


def test_it_rounds_as_torch_is_told_to(pair):
    """The same products and sums but for the order of floats between: at times a number falls over to another step."""
    found = list(errors(pair[0]))
    assert all(0 < error < 0.01 for error, _ in found)
    assert min(apart for _, apart in found) < 1e-5


def test_another_process_finds_what_was_kept_and_makes_the_same_picture(pair, cache, monkeypatch):
    before = pair[1]("a seven", **OPTIONS).arrays[0]
    monkeypatch.setattr(openvino, "building_folder", None)
    monkeypatch.setattr(calibration, "seen", None)
    again = TextToImage(tiny_model()).with_engine("openvino-int8")("a seven", **OPTIONS).arrays[0]
    assert np.array_equal(again, before)


def test_a_picture_does_not_depend_on_its_batch(pair):
    alone = pair[1]("a seven", **OPTIONS).arrays[0]
    batch = pair[1](["a seven", "a red apple", "the number two"], **OPTIONS).arrays[0]
    assert np.abs(batch - alone).max() < 1e-5


def test_what_is_damaged_is_seen_anew_and_is_the_same(pair, cache):
    pair[1]("a seven", **OPTIONS)
    (file,) = cache.glob("*.safetensors")
    for damage in (b"", file.read_bytes()[:-9], b"x" * 99):
        whole = file.read_bytes()
        file.write_bytes(damage)
        assert calibration.spans_of(tiny_model()).digest == calibration.spans_of(pair[1].model).digest
        assert file.read_bytes() == whole


def test_what_is_kept_is_that_of_the_very_model(cache):
    """Whatever else the same weights were asked for before, in this process or in another."""
    models = {
        "as it is": tiny_model(),
        "prediction": tiny_model(prediction="sample"),
        "clip": tiny_model(clip=None),
        "schedule": tiny_model(schedule=Flow()),
        "scheduler": tiny_model(defaults={"steps": 4, "guidance": 2.0, "scheduler": "Euler"}),
    }
    alone = {name: calibration.seen(model).digest for name, model in models.items()}
    assert len(set(alone.values())) == len(models)
    network = models["as it is"].network
    for model in (*models.values(), *(replace(model, network=network) for model in models.values())):
        calibration.spans_of(model)
    assert {name: calibration.spans_of(model).digest for name, model in models.items()} == alone
    shared = {name: replace(model, network=network) for name, model in models.items()}
    assert {name: calibration.spans_of(model).digest for name, model in shared.items()} == alone


def test_clip_skip_and_an_autoencoder_change_no_calibration(cache):
    model = latent_model()
    known = calibration.spans_of(model).digest
    kept = set(cache.glob("*.safetensors"))
    other = latent_model()
    with torch.no_grad():
        next(other.autoencoder.parameters()).add_(1.0)
    for one in (other, other.with_clip_skip(1)):
        assert calibration.spans_of(one).digest == known
    assert set(cache.glob("*.safetensors")) == kept


def test_a_lora_is_in_its_export_merged_or_live(pair, tmp_path):
    path = kohya(pair[0].model, tmp_path / "ink.safetensors")
    for live in (False, True):
        exact, made = (one.with_lora(path, live=live) for one in pair)
        assert off(exact, made) < 0.5 * off(pair[0], made)


def test_with_a_cache_of_features(pair):
    pipe, other = pair
    assert 0 < off(pipe, other, cache="every=2") < 0.02


def test_its_recipe_tells_it_and_notes_where_it_is_not_followed(pair, tmp_path):
    pipe, other = pair
    made = other("a seven", **OPTIONS)
    assert made.recipes[0].arithmetic == "int8"
    assert "Arithmetic: int8" in made.recipes[0].to_parameters()
    assert pipe("a seven", **OPTIONS).recipes[0].arithmetic == ""
    for keep in ("unnoise", "parameters"):
        path = tmp_path / f"{keep}.png"
        text = made.recipes[0].png_text()
        images.write_png(path, made.images[0], {keep: text[keep]})
        (note,) = (note for note in Repeat.of(path, pipe.model).notes if "computed" in note)
        assert note == (
            "its network was computed in int8, and is here in floats; for the same, use engine 'openvino-int8'"
        )
        assert not any("computed" in note for note in Repeat.of(path, other.model).notes)
        assert verify(other, path).verdict == "bit-equal"
    assert any("in int8" in reason for reason in verify(pipe, tmp_path / "unnoise.png").reasons)


def test_latents(cache):
    pipe = TextToImage(latent_model())
    assert 0 < off(pipe, pipe.with_engine("openvino-int8")) < 0.02


@pytest.mark.filterwarnings("ignore")
def test_stable_diffusion_in_miniature_without_prompts_on_a_card(tmp_path):
    """Of random weights: one look, for guidance makes the differences of two answers larger."""
    pytest.importorskip("diffusers")
    folder = miniature_sd.save(miniature_sd.pipeline("sd1", tmp_path), tmp_path / "model")
    pipe = unnoise.load(folder, dtype=torch.float32)
    assert calibration.prompts_of(pipe.model) == list(calibration.PROMPTS)
    found = list(errors(pipe))
    assert all(0 < error < 0.08 for error, apart in found)
    assert sorted(found)[len(found) // 2][0] < 0.02


def test_a_processor_whose_sums_are_not_exact_is_refused(pair, monkeypatch):
    """One that holds two products in sixteen bits: 2 x 255 x 127 becomes 32767, so 64 becomes 32."""
    monkeypatch.setattr(openvino, "compiled", lambda graph, half: lambda told: [np.full((8, 16), 32.4)])
    monkeypatch.setattr(openvino, "sums_exactly", openvino.sums_exactly.__wrapped__)
    with pytest.raises(InputError, match="VNNI"):
        pair[1].denoise("a seven", **OPTIONS)


def test_a_network_that_sees_a_picture_is_refused(pair):
    class Model:
        network, beside = tiny_model().network, 1

    with pytest.raises(InputError, match="use engine 'openvino'"):
        calibration.spans_of(Model())
