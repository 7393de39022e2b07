"""The FID's Inception beside torch-fidelity 0.4.0: equal random weights, pictures that shrink and grow.

torch-fidelity needs torchvision, and its mere presence without that switches torchmetrics' distances off, so what its
network gave is kept in `recorded/inception.npz`. To record anew: `pip install --no-deps --target FOLDER
torch-fidelity==0.4.0`, then `PYTHONPATH=src:tests:FOLDER python tests/parity/test_inception.py`.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from unnoise import evaluation
from unnoise.cli import main
from unnoise.errors import CheckpointError
from unnoise.evaluation import inception

RECORD = Path(__file__).parents[1] / "recorded" / "inception.npz"
SIZES = ((37, 53), (310, 420))  # height, width: one grows, one shrinks
pytestmark = pytest.mark.parity


def weights():
    """Random numbers of a generator that never changes, scaled so that every unit is alive."""
    source = np.random.RandomState(0)
    drawn = {}
    for name, tensor in sorted(inception.Inception().state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        shape = tuple(tensor.shape)
        plain = source.uniform(-1.0, 1.0, shape)
        if name.endswith("conv.weight"):
            plain *= np.sqrt(6.0 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "bn.weight")):
            plain = 1.0 + 0.5 * plain
        else:
            plain *= 0.3
        drawn[name] = torch.from_numpy(plain.astype(np.float32))
    return drawn | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


def pictures(height, width):
    source = np.random.RandomState(height)
    return torch.from_numpy(source.randint(0, 256, (1, 3, height, width)).astype(np.uint8))


@pytest.fixture(scope="module")
def table():
    return weights()


@pytest.fixture(scope="module")
def files(table, tmp_path_factory):
    """As passed around: the pickle of old and of new torch, and safetensors."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save(table, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(table, folder / "new.pth")
    save_file(table, folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize("place", range(len(SIZES)), ids=["grows", "shrinks"])
def test_features_are_torch_fidelitys(table, place):
    """Its network computes in float64 here and answers in float32; ours sees the same pictures in float64."""
    network = inception.Inception().eval().double()
    network.load_state_dict(table, strict=False)
    with torch.inference_mode():
        found = network(inception.seen(pictures(*SIZES[place]).double()))[0].numpy()
    wanted = np.load(RECORD)["features"][place].astype(np.float64)
    assert wanted.std() > 0.1 * np.abs(wanted).mean()  # a dead network would agree with anything
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6 * np.abs(wanted).max())


def test_every_form_of_the_file_gives_the_same_features(files):
    encoders = [
        evaluation.load_encoder(files / name) for name in ("old.pth", "new.pth", "weights.safetensors")
    ]
    wanted = np.load(RECORD)["features"][0]
    for encoder in encoders:
        assert encoder.name.startswith("Inception-v3 of the FID, weights ")
        assert encoder.name.endswith("stretched to 299x299 (TensorFlow 1's bilinear, not antialiased)")
    found = encoders[0](pictures(*SIZES[0]))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    states = [encoder.network.state_dict() for encoder in encoders]
    for state in states[1:]:
        assert all(torch.equal(state[name], tensor) for name, tensor in states[0].items())


def test_the_command_names_the_network_and_its_rule(files, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(10):
            pixels = np.random.default_rng(place).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{place}.png")
    words = [
        "evaluate",
        "distance",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        "--features",
        str(files / "new.pth"),
    ]
    assert main([*words, "--resamples", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "299x299 (TensorFlow 1's bilinear, not antialiased), of 3x8x8" in told["features"]
    assert told["notes"] == [
        "no Frechet distance: 10 pictures for 2048 features",
        "above 0 for equal sets too, the more the fewer pictures: sliced wasserstein",
    ]
    assert told["values"]["precision"]["value"] == 1.0


def test_torchvisions_weights_of_the_same_names_are_refused(table, tmp_path, capsys):
    save_file(table | {"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "inception_v3_google.safetensors")
    words = ["evaluate", "distance", str(tmp_path), str(tmp_path), "--features"]
    (tmp_path / "a.png").write_bytes(b"")
    assert main([*words, str(tmp_path / "inception_v3_google.safetensors")]) == 1
    assert "whose figures are no FID" in capsys.readouterr().err


def test_a_pickle_that_holds_more_than_tensors_runs_nothing(tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"Conv2d_1a_3x3.conv.weight": Harm()}, tmp_path / "pt_inception.pth")
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        evaluation.load_encoder(tmp_path / "pt_inception.pth")
    assert not (tmp_path / "ran").exists()


def record():
    """What torch-fidelity's network gives, without importing the rest of it."""
    spec = importlib.util.find_spec("torch_fidelity")
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["torch_fidelity"] = package
    theirs = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    path = RECORD.with_name("weights.pth")
    torch.save(weights(), path)
    try:
        network = theirs.FeatureExtractorInceptionV3(
            "inception",
            ["2048"],
            feature_extractor_weights_path=path,
            feature_extractor_internal_dtype="float64",
        )
    finally:
        path.unlink()
    with torch.inference_mode():
        rows = [network(pictures(*size))[0][0].numpy() for size in SIZES]
    np.savez_compressed(RECORD, features=np.stack(rows))


if __name__ == "__main__":
    record()
