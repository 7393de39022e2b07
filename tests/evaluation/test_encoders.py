"""Features of encoders on disk beside transformers' own, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from unnoise import evaluation
from unnoise.cli import main
from unnoise.errors import CheckpointError, FileError, InputError, NonFiniteError
from unnoise.evaluation.preparation import IMAGENET, Square

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    config = transformers.CLIPVisionConfig(
        **SMALL, intermediate_size=32, image_size=32, patch_size=8, projection_dim=12
    )
    torch.manual_seed(0)
    return saved(transformers.CLIPVisionModelWithProjection(config), folder)


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    config = transformers.Dinov2Config(**SMALL, image_size=28, patch_size=14)
    torch.manual_seed(1)
    return saved(transformers.Dinov2Model(config), tmp_path_factory.mktemp("dino"))


def saved(model, folder):
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    return folder


def pictures(count=6, channels=3, height=40, width=48, seed=0):
    shape = (count, channels, height, width)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_clip_features_are_transformers_own(clip):
    """Its own loader, and PIL's bicubic on 8 bits, which rounds after each of its passes: 1.5/255 on smooth ones."""
    coarse = pictures(height=5, width=6).float().mul(0.5).add(64.0)
    pixels = torch.nn.functional.interpolate(coarse, size=(40, 48), mode="bicubic").round().to(torch.uint8)
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(clip, local_files_only=True).eval()
    prepare = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    shown = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in pixels]
    inputs = prepare(images=shown, return_tensors="pt")["pixel_values"]
    encoder = evaluation.load_encoder(clip)
    assert float((encoder.seen(pixels) - inputs).abs().max()) < 1.5 / 255 / 0.26
    with torch.inference_mode():
        wanted = model(pixel_values=encoder.seen(pixels)).image_embeds.double().numpy()
    assert np.abs(encoder(pixels) - wanted).max() < 1e-6
    with pytest.raises(InputError, match=r"pictures are torch\.float32; give uint8"):
        encoder(pixels / 127.5 - 1)


def test_torch_s_default_type_and_device_change_nothing_that_an_encoder_sees(far_defaults):
    pixels, square = pictures(), Square(8, 9, *IMAGENET)
    near = square(pixels)
    with far_defaults():
        far = square(pixels)
    assert far.dtype == near.dtype
    assert torch.equal(far, near)


def test_dinov2_features_are_transformers_own(dino):
    pixels = pictures(channels=1)
    model = transformers.Dinov2Model.from_pretrained(dino, local_files_only=True).eval()
    (dino / "preprocessor_config.json").write_text(
        '{"size": {"shortest_edge": 30}, "image_std": [0.5, 0.5, 0.5]}'
    )
    encoder = evaluation.load_encoder(dino / "model.safetensors")
    assert (encoder.seen.size, encoder.seen.shortest, encoder.seen.deviation) == (28, 30, (0.5, 0.5, 0.5))
    with torch.inference_mode():
        wanted = model(pixel_values=encoder.seen(pixels.expand(-1, 3, -1, -1))).pooler_output.double().numpy()
    assert np.abs(encoder(pixels) - wanted).max() < 1e-6


def test_the_picture_tower_of_a_whole_clip_is_taken(clip, tmp_path):
    table = json.loads((clip / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "clip", "projection_dim": 12, "vision_config": table, "text_config": {}})
    )
    weights = load_file(clip / "model.safetensors") | {
        "text_model.x": torch.zeros(2),
        "logit_scale": torch.zeros(()),
    }
    save_file(weights, tmp_path / "model.safetensors")
    assert np.array_equal(
        evaluation.load_encoder(tmp_path)(pictures()), evaluation.load_encoder(clip)(pictures())
    )


def test_a_picture_does_not_depend_on_its_batch(clip):
    encoder, pixels = evaluation.load_encoder(clip), pictures(70)
    assert np.abs(encoder(pixels)[66:] - encoder(pixels[66:])).max() < 1e-6


def test_the_command_names_encoder_weights_and_rule(clip, tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        for place, pixels in enumerate(pictures(12, seed=seed)):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{place}.png")
    words = [
        "evaluate",
        "distance",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        "--features",
        str(clip),
        "--json",
    ]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    digest = evaluation.load_encoder(clip).name.split("weights ")[1][:10]
    assert told["features"] == (
        f"CLIP picture tower, weights {digest}, shorter side resized to 32 (bicubic, antialiased), middle 32x32, "
        "mean 0.4815 0.4578 0.4082, deviation 0.2686 0.2613 0.2758, of 3x40x48"
    )
    assert told["notes"][0] == "no Frechet distance: 12 pictures for 12 features"


@pytest.mark.parametrize("ending", [".ts", ".pt2", ".bin", ".onnx"])
def test_a_file_that_may_carry_code_is_refused_unread(tmp_path, ending, capsys):
    path = tmp_path / f"encoder{ending}"
    with pytest.raises(InputError, match="may carry code"):
        evaluation.load_encoder(path)
    assert main(["evaluate", "distance", str(tmp_path), str(tmp_path), "--features", str(path)]) == 2
    assert "may carry code" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_of_pickles_only_tables_of_known_tensors_are_read(tmp_path, capsys):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "unknown.pth")
    torch.save({"conv1.weight": torch.zeros(2), "epoch": 3}, tmp_path / "training.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "scripted.pt")
    for name, words in (
        ("unknown.pth", "has not the tensors of the FID's Inception, a ResNet or a ViT"),
        ("training.pth", "is no table of tensors"),
        ("scripted.pt", "more than tensors"),
    ):
        asked = ["evaluate", "distance", str(tmp_path), str(tmp_path), "--features", str(tmp_path / name)]
        assert main(asked) == 1
        told = capsys.readouterr().err
        assert words in told
        assert told.count("\n") == 1


def spoilt(clip, folder, change):
    weights, table = load_file(clip / "model.safetensors"), json.loads((clip / "config.json").read_text())
    change(weights, table)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(table))
    return folder


NAME = "visual_projection.weight"


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda weights, table: weights.pop(NAME), CheckpointError, f"misses 1 tensor, such as {NAME}"),
        (
            lambda weights, table: weights.update(more=torch.zeros(1)),
            CheckpointError,
            "has beside them 1 tensor,",
        ),
        (
            lambda weights, table: weights.update({NAME: torch.zeros(3, 3)}),
            CheckpointError,
            "in another shape",
        ),
        (lambda weights, table: weights[NAME].fill_(float("nan")), NonFiniteError, "not finite"),
        (lambda weights, table: table.update(model_type="bert"), InputError, "of the kind 'bert'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(clip, tmp_path, change, kind, words):
    with pytest.raises(kind, match=words):
        evaluation.load_encoder(spoilt(clip, tmp_path, change))(pictures())


def test_missing_and_damaged_parts_are_named(clip, tmp_path):
    with pytest.raises(FileError, match=r"there is no '.*model\.safetensors'"):
        evaluation.load_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="it is a web page"):
        evaluation.load_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((clip / "model.safetensors").read_bytes())
    with pytest.raises(FileError, match=r"there is no '.*config\.json'"):
        evaluation.load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FileError, match="holds no table"):
        evaluation.load_encoder(tmp_path)
