"""Models of the Hugging Face hub: read from its cache without a network, or fetched, and only what is needed."""

from __future__ import annotations

import socket
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import miniature_sd
from hub_stub import COMMIT, NAME, files_of, hub_of, into_cache
from unnoise import checkpoints
from unnoise.checkpoints import controlnet, hub
from unnoise.checkpoints.needed import of_model
from unnoise.cli import main
from unnoise.errors import CheckpointError
from unnoise.pipelines import Recipe, load

pytest.importorskip("diffusers")
VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sd1")
    return miniature_sd.save(miniature_sd.pipeline("sd1", place), place / "model")


@pytest.fixture(scope="module")
def whole(folder):
    return checkpoints.load(folder)


@pytest.fixture(scope="module")
def repository(folder):
    """The folder as repositories are: half precision, pickles and pages beside what is needed."""
    files = files_of(folder)
    for name in [name for name in files if name.endswith(".safetensors")]:
        halves = {key: tensor.half() for key, tensor in load_file(folder / name).items()}
        save_file(halves, folder.parent / "half.safetensors")
        files[name.replace(".safetensors", ".fp16.safetensors")] = (
            folder.parent / "half.safetensors"
        ).read_bytes()
        files[name.replace(".safetensors", ".bin")] = b"a pickle"
    return files | {"README.md": b"# A model", "safety_checker/model.safetensors": b"not needed"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, a working folder of its own, and no word of the machine's settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "hub"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def tensors(model):
    return [*model.network.state_dict().values(), *model.text_encoder.state_dict().values()]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_cache_is_read_without_network_or_library(folder, tmp_path, monkeypatch, variable):
    place = tmp_path / "elsewhere"
    into_cache(files_of(folder), place / "hub" if variable == "HF_HOME" else place)
    monkeypatch.setenv(variable, str(place))
    for asked in (NAME, f"{NAME}@{COMMIT}", f"{NAME}@main"):
        found = checkpoints.recognise(asked)
        found.check()
        assert found.name == f"{NAME}@{COMMIT}"
        assert found.parts["network"].config == checkpoints.recognise(folder).parts["network"].config
    with pytest.raises(
        CheckpointError, match=r"not whole in the hub's cache .* pip install 'unnoise\[hub\]'"
    ):
        checkpoints.load(f"{NAME}@v2")


@pytest.mark.usefixtures("no_network")
def test_where_the_library_keeps_its_cache_we_look(monkeypatch):
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_HOME", constants.HF_HOME)
    assert str(hub.cache()) == constants.HF_HUB_CACHE


def test_the_commit_is_found_wherever_the_cache_lies(folder, tmp_path, monkeypatch):
    home = tmp_path / "snapshots" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(home))
    into_cache(files_of(folder), home)
    assert checkpoints.recognise(NAME).name == f"{NAME}@{COMMIT}"


def test_what_is_not_there_is_fetched_once_and_nothing_but_what_is_needed(
    folder, whole, repository, cache, monkeypatch
):
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        model = checkpoints.load(NAME)
        fetched = set(server.fetched)
    assert same(model, whole)
    assert fetched == set(
        files_of(folder)
    )  # as diffusers wrote it: no half precision, pickle, page or safety checker
    assert (cache / f"models--{NAME.replace('/', '--')}" / "refs" / "main").read_text() == COMMIT
    checkpoints.recognise(NAME).check()  # the server is gone
    asked = [name for name in fetched if name.endswith(".safetensors")]
    assert len(asked) == 3


def test_a_variant_is_fetched_where_it_is_asked_for_or_alone(folder, whole, repository, monkeypatch):
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        half = load(f"{NAME}@{COMMIT}:fp16", dtype=torch.float32).model
        weights = [name for name in server.fetched if name.endswith(".safetensors")]
        assert all(".fp16." in name for name in weights)
        assert len(weights) == 3
        assert half.name == f"{NAME}@{COMMIT}:fp16"
        with pytest.raises(CheckpointError, match="has no variant 'int3'; leave it out"):
            checkpoints.load(f"{NAME}:int3")
    assert torch.equal(half.network.conv_in.weight, whole.network.conv_in.weight.half().float())
    # the same snapshot holds half precision alone: taken as it is, without a word from the network
    files = checkpoints.recognise(f"{NAME}@{COMMIT}").parts["network"].files
    assert [file.name for file in files] == ["diffusion_pytorch_model.fp16.safetensors"]


def test_a_snapshot_that_another_program_left_unfinished_is_completed(
    folder, whole, repository, cache, monkeypatch
):
    part = {name: content for name, content in files_of(folder).items() if not name.startswith("unet/")}
    into_cache(part, cache)
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        model = checkpoints.load(NAME)
        assert {name for name in server.fetched if not name.endswith(".json")} == {
            "unet/diffusion_pytorch_model.safetensors"
        }
    assert same(model, whole)


@pytest.mark.parametrize("number", ["{0}.fp16-{1}", "{0}-{1}.fp16"])
def test_shards_count_only_together(number):
    base, index = "unet/diffusion_pytorch_model", {"unet": ["diffusers", "UNet2DConditionModel"]}
    shards = [number.format(base, f"0000{place}-of-00002") + ".safetensors" for place in (1, 2)]
    small = ["unet/config.json", "scheduler/scheduler_config.json"]
    listed = [*small, f"{base}.safetensors.index.fp16.json", *shards, f"{base}.bin"]
    found = of_model(index, listed)
    assert set(found.files) == {"model_index.json", *listed} - {f"{base}.bin"}
    assert not found.lacks
    assert of_model(index, listed[:-2]).lacks == ("unet",)


def test_one_file_of_a_repository_and_a_network_alone(folder, whole, cache, tmp_path, monkeypatch):
    import diffusers

    single = checkpoints.convert(folder, tmp_path / "v1.safetensors").read_bytes()
    with hub_of({"v1.safetensors": single, "v2.safetensors": b""}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        assert same(checkpoints.load(f"{NAME}/v1.safetensors"), whole)
        assert server.fetched == ["v1.safetensors"]
        with pytest.raises(
            CheckpointError, match=r"lacks model_index.json. It has v1.safetensors, v2.safetensors; ask"
        ):
            checkpoints.load(NAME)
        with pytest.raises(CheckpointError, match=r"has no file 'v3.safetensors'. It has v1.safetensors"):
            checkpoints.load(f"{NAME}/v3.safetensors")
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    diffusers.ControlNetModel.from_unet(unet).save_pretrained(tmp_path / "control")
    with hub_of(files_of(tmp_path / "control")) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "controls"))
        assert controlnet.read(NAME).files == (
            hub.cached(hub.address(NAME)) / "diffusion_pytorch_model.safetensors",
        )


@pytest.mark.parametrize(
    ("asked", "gated", "words"),
    [
        ("someone/else", False, "the hub has no model of that name that you may see"),
        (NAME, True, r"is gated: accept its terms .* `hf auth login`"),
        (f"{NAME}@v9", False, "has no revision 'v9'"),
    ],
)
def test_a_refusal_of_the_hub_says_what_to_do(repository, monkeypatch, asked, gated, words):
    with hub_of(repository, gated) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(CheckpointError, match=words):
            checkpoints.load(asked)


def test_without_connection_or_leave_to_connect_the_error_says_so(monkeypatch):
    with pytest.raises(CheckpointError, match=r"could not be fetched .* Try again with a connection"):
        checkpoints.load(NAME)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE forbids to fetch it"):
        checkpoints.load(NAME)


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def test_a_download_that_is_cut_goes_on_where_it_was_and_leaves_no_part(
    folder, whole, repository, cache, monkeypatch
):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # of what is written at once
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.cut.append(WEIGHTS)
        assert same(checkpoints.load(NAME), whole)
        half = len(repository[WEIGHTS]) // 2
        assert server.resumed == [(WEIGHTS, half // 2**16 * 2**16)]
    assert not list(cache.rglob("*incomplete*"))


@pytest.mark.parametrize("change", [flipped, lambda content: content[:-1]], ids=["hash", "size"])
def test_contents_that_the_hub_did_not_promise_are_removed_and_told(
    whole, repository, cache, monkeypatch, change
):
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.altered[WEIGHTS] = change(repository[WEIGHTS])
        with pytest.raises(CheckpointError, match=r"SHA-256 differs\), and was removed. Fetch it again"):
            checkpoints.load(NAME)
        assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix == ".incomplete"]
        server.altered.clear()
        assert same(checkpoints.load(NAME), whole)  # once the hub is right again


def test_a_hub_that_fails_or_never_answers_is_told_and_what_is_here_needs_none(
    folder, whole, repository, cache, monkeypatch
):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.broken = True
        with pytest.raises(CheckpointError, match=r"could not be fetched \(HfHubHTTPError: .*500"):
            checkpoints.load(NAME)
        server.silent = threading.Event()
        try:
            with pytest.raises(CheckpointError, match=r"could not be fetched \(ReadTimeout"):
                checkpoints.load(NAME)
            into_cache(files_of(folder), cache)
            assert same(checkpoints.load(NAME), whole)
        finally:
            server.silent.set()


def test_paths_are_never_addresses(tmp_path):
    (tmp_path / "runs").mkdir()
    for path in (
        "runs/mine",
        "./a/b",
        "../a/b",
        "~/a/b",
        "/a/b",
        "a",
        "a/b.safetensors",
        "a/../b/x.safetensors",
    ):
        assert hub.address(path) is None, path
    with pytest.raises(CheckpointError, match="there is no 'runs/mine'"):
        checkpoints.load("runs/mine")
    assert hub.address("a/b/c/d.safetensors@refs/pr/1:fp16") == hub.Address(
        "a/b", "c/d.safetensors", "refs/pr/1", "fp16"
    )


def test_the_command_line_makes_a_picture_and_inspects(folder, repository, tmp_path, monkeypatch, capsys):
    with hub_of(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        words = [
            "generate",
            "a house",
            "-m",
            NAME,
            "-s",
            "7",
            "--steps",
            "2",
            "--size",
            "32x32",
            "-o",
            "out.png",
        ]
        assert main([*words, "--steps", "0"]) == 2
        assert not server.fetched  # a mistake is told before anything is fetched
        assert main(words) == 0
    assert main(["inspect", NAME]) == 0
    assert "Stable Diffusion 1" in capsys.readouterr().out
    wanted = load(folder)("a house", seed=7, steps=2, width=32, height=32).images[0]
    assert np.array_equal(np.asarray(Image.open("out.png")), np.asarray(wanted))
    # the recipe names the commit, and what is in the cache is taken from there
    assert Recipe.from_png("out.png").model == f"{NAME}@{COMMIT}"
    assert main(["verify", "out.png"]) == 0
    assert "bit-equal" in capsys.readouterr().out
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    assert main(["verify", "out.png"]) == 2
    assert "give its file or folder with --model" in capsys.readouterr().err
