"""`unnoise evaluate`, `compare` and `inspect-run`, as a person would type them."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from latent_model import latent_model
from tiny_model import CAPTIONS, save_tiny, tiny_model
from unnoise import checkpoints, evaluation
from unnoise.cli import main
from unnoise.pipelines.latents import encode
from unnoise.text import embed


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve 8x8 pictures with captions."""
    place = tmp_path_factory.mktemp("pictures")
    source = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(source.integers(0, 256, (8, 8), dtype=np.uint8)).save(place / f"{number:02d}.png")
        (place / f"{number:02d}.txt").write_text(random.Random(number).choice(["a seven", "a red apple"]))
    return place


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def type_in(*words):
        status = main([str(word) for word in words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return type_in


def test_likelihood_by_every_method_beside_two_baselines(run, tiny, folder):
    status, out, _ = run(
        "evaluate", "likelihood", tiny, folder, "--method", "all", "--steps", 8, "--calls", 8, "--tolerance", "0.1",
        "--train", folder, "--fit-variance", "--json",
    )  # fmt: skip
    assert status == 0
    told = json.loads(out)
    assert told["captions"] is True
    assert [row["estimator"] for row in told["results"]] == [
        "discrete bound",
        "continuous-time bound",
        "probability-flow ODE",
        "independent pixels",
        "Gaussian with full covariance",
    ]
    assert all(row["pictures"] == 12 and row["error"] > 0 for row in told["results"])


def test_the_line_for_people(run, tiny, folder):
    status, out, _ = run(
        "evaluate", "likelihood", tiny, folder, "--method", "vdm", "--calls", 4, "--limit", 3
    )
    assert status == 0
    assert "bits/dim (continuous-time bound) = prior" in out
    assert "3 pictures; the model was told the captions" in out


def test_a_latent_model_is_judged_in_nats_of_its_latents(run, tmp_path, monkeypatch):
    """By the method of bounds and along the path; nothing is called bits of a pixel, and no baseline is of pixels."""
    model = latent_model()
    monkeypatch.setattr(checkpoints, "load", lambda name: model)
    side, source = 8 * model.autoencoder.config.factor, np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        picture = Image.fromarray(source.integers(0, 256, (side, side, 3), dtype=np.uint8))
        picture.save(tmp_path / "pictures" / f"{number}.png")
    status, out, err = run(
        "evaluate", "likelihood", "latent", "pictures", "--method", "all", "--steps", 4, "--calls", 4, "--tolerance",
        "0.1", "--train", "pictures", "--json",
    )  # fmt: skip
    assert status == 0, err
    rows = json.loads(out)["results"]
    assert [row["unit"] for row in rows] == ["nats/dim of the latent"] * 3
    pixels = evaluation.read_folder(tmp_path / "pictures").pixels
    with torch.inference_mode():
        latents = encode(model, pixels.float() / 127.5 - 1.0).clone()
        seen = embed(model.text_encoder, model.tokenizer, [""] * 3)
    told = {"text": seen.hidden.clone()} | ({} if seen.mask is None else {"text_mask": seen.mask.clone()})
    wanted = evaluation.bits_per_dim(
        model.diffuser, latents, "vdm", space="latent", calls=4, conditioning=told
    )
    assert rows[1]["value"] == pytest.approx(wanted.value, rel=1e-6)


def test_distance_of_a_set_to_itself_and_its_copies(run, folder):
    status, out, _ = run("evaluate", "distance", folder, folder, "--neighbours", 3, "--nearest", "--json")
    told = json.loads(out)
    assert status == 0
    assert told["values"]["precision"]["value"] == 1.0
    assert len(told["copies"]) == 12
    assert told["features"] == "pixels 1x8x8, from 0 to 1, not resized"
    assert told["notes"][0] == "no Frechet distance: 12 pictures for 64 features"


def test_distance_of_feature_files(run, tmp_path):
    for seed, name in enumerate(("a", "b")):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(seed).standard_normal((60, 4)))
    status, out, _ = run("evaluate", "distance", tmp_path / "a.npy", tmp_path / "b.npy")
    assert status == 0
    assert "frechet" in out
    assert " to " in out
    status, out, _ = run("evaluate", "distance", "a.npy", "b.npy", "--resamples", 0, "--json")
    assert json.loads(out)["values"]["frechet"]["low"] is None


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory):
    """Where a comparison was written, and the words that asked for it."""
    out = tmp_path_factory.mktemp("compared")
    words = ("compare", str(tiny), "--schedulers", "DDIM,Euler a", "--steps", "2,3", "--features", "emoji")
    words = (*words, "--out", str(out))
    assert main([*words]) == 0
    return out, words


def test_compare_writes_a_page_and_goes_on_where_it_stopped(run, compared):
    out, words = compared
    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    status, told, _ = run(*words)
    assert status == 0
    assert told.startswith("Use DDIM with ")
    page = (out / "report.html").read_text()
    assert "Kernel distance (KID) of encoder emoji " in page
    assert kept == {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}


def test_inspect_run_writes_a_page(run, tiny, tmp_path):
    status, out, _ = run("inspect-run", "a seven", "-m", tiny, "--steps", 3, "-o", "seen.html")
    assert status == 0
    assert out == "saved seen.html; open it in a browser\n"
    assert (tmp_path / "seen.html").is_file()
    assert (tmp_path / "seen.json").is_file()


def test_the_page_of_a_run_goes_into_a_folder_that_is_there_whatever_its_name(run, tiny, tmp_path):
    (tmp_path / "seen.today").mkdir()
    words = ("inspect-run", "a seven", "-m", tiny, "--steps", 1, "-o")
    for folder in ("seen.today", "new"):
        assert run(*words, folder) == (0, f"saved {folder}/run.html; open it in a browser\n", "")
        assert (tmp_path / folder / "run.html").is_file()


def test_refusals(run, tiny, folder, tmp_path):
    (tmp_path / "wide").mkdir()
    Image.new("L", (9, 8)).save(tmp_path / "wide" / "wide.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep" / "a.png")
    np.save(tmp_path / "bytes.npy", np.zeros((20, 4), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((20, 4)))
    np.save(tmp_path / "nan.npy", np.full((20, 4), np.nan))
    np.save(tmp_path / "words.npy", np.full((20, 4), "a"))
    broken = tiny_model()
    for tensor in broken.network.parameters():
        tensor.data.fill_(1e30)  # finite, so that it is loaded; what the network says is not
    checkpoints.save(broken, tmp_path / "broken")
    asked = {
        ("evaluate", "likelihood", tmp_path / "broken", folder, "--method", "vdm"): (
            1,
            "is not finite for picture 0",
        ),
        ("evaluate", "likelihood", tmp_path / "broken", folder, "--method", "ode"): (1, "finite"),
        ("evaluate", "likelihood", tiny, tmp_path / "deep", "--method", "vdm"): (
            1,
            "more than 8 bits a pixel",
        ),
        ("evaluate", "likelihood", tiny, folder, "--method", "vdm", "--levels", 17): (
            2,
            "none of the 17 grey levels; ask for 256 levels",
        ),
        ("evaluate", "distance", "bytes.npy", "floats.npy"): (
            2,
            "the first set is uint8, the second float64",
        ),
        ("evaluate", "distance", "floats.npy", "nan.npy"): (
            1,
            "the second set holds features that are not finite",
        ),
        ("evaluate", "distance", "floats.npy", "words.npy"): (1, "give an array of numbers"),
        ("evaluate", "distance", "floats.npy", folder): (2, "give pictures of one size"),
        ("evaluate", "distance", "floats.npy", "empty"): (1, "holds no picture"),
        ("compare", tiny, "--data", "empty"): (1, "holds no picture"),
        ("compare", tiny, "--data", "deep"): (1, "more than 8 bits a pixel"),
        ("evaluate", "likelihood", tiny, folder, "--method", "vlb"): (
            2,
            "a cosine schedule has not; give steps=1000",
        ),
        ("evaluate", "likelihood", tiny, folder, "--method", "nll"): (2, "--method is nll"),
        ("evaluate", "likelihood", tiny, "wide"): (1, "is 9x8, expected 8x8"),
        ("evaluate", "likelihood", tiny, tmp_path / "empty"): (1, "holds no picture"),
        ("evaluate", "likelihood", tiny, tmp_path / "nowhere"): (1, "does not exist"),
        ("evaluate", "likelihood", tiny, folder, "--fit-variance"): (2, "give --train FOLDER"),
        ("evaluate", "distance", "wide/wide.png", folder): (1, "is a file"),
        ("evaluate", "distance", "wide", folder): (2, "at least 10 pictures"),
        ("evaluate", "distance", folder, folder, "--features", "nowhere:f"): (
            2,
            "or MODULE:FUNCTION",
        ),
        ("evaluate",): (2, "is missing"),
        ("compare", tiny, "--steps", "5,x"): (2, "--steps is x"),
        ("compare", tiny, "--schedulers", "DDIMM"): (2, "the nearest are DDIM"),
        ("inspect-run", "a seven", "-m", tiny, "--scheduler", "DDIMM"): (2, "the nearest are DDIM"),
        ("inspect-run", "a seven", "-m", tiny, "-o", "run.pdf"): (2, "ends in .html"),
    }
    for words, (status, sentence) in asked.items():
        found, out, err = run(*words)
        assert (found, out) == (status, ""), words
        assert sentence in err, (words, err)
        assert err.count("\n") == 1


def test_distance_by_the_shipped_encoder(run, tmp_path):
    source = np.random.default_rng(1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(12):
            picture = Image.fromarray(source.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            picture.save(tmp_path / name / f"{number:02d}.png")
    status, out, _ = run("evaluate", "distance", "one", "two", "--features", "emoji", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["features"].startswith("encoder emoji ")
    assert "brought to 64x64" in told["features"]
    status, same, _ = run("evaluate", "distance", "one", "one", "--features", "emoji", "--json")
    energy, own = (json.loads(text)["values"]["energy"]["value"] for text in (out, same))
    assert own < energy


def test_compare_tells_how_well_pictures_show_their_prompts(run, tiny, compared):
    """Beside converged pictures that are there already: what was typed is what the model's card had asked for."""
    out, _ = compared
    prompts = (word for caption in CAPTIONS for word in ("--prompt", caption))
    words = ("compare", tiny, "--schedulers", "Euler", "--steps", "2", "--encoder", "emoji", *prompts)
    status, told, _ = run(*words, "--out", out, "--json")
    assert status == 0
    told = json.loads(told)
    (cell,) = told["cells"]
    assert f"shows best with Euler and 2 steps: agreement {cell['alignment']:.2f}" in told["sentence"]
    assert -1.0 <= cell["alignment"] <= 1.0
    assert "Asked for" in (out / "report.html").read_text()
