"""Files that are no model, by every way in: each is refused in a sentence, runs nothing and leaves nothing behind."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zlib

import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

import miniature_file
import unnoise
from unnoise.checkpoints import convert, inspect
from unnoise.cli import main
from unnoise.errors import FileError

BIAS = "model.diffusion_model.out.2.bias"


class Trap:
    def __reduce__(self):
        return open, ("sprung", "w")


def with_header(text):
    return struct.pack("<Q", len(text)) + text


def contents():
    """Each fault: the bytes of the file, and what is said of it."""
    whole = miniature_file.tensors()
    good = save(whole)
    length = int.from_bytes(good[:8], "little")
    header = good[8 : 8 + length].decode()
    twice = header.rstrip().removesuffix("}") + f', "{BIAS}": {json.dumps(json.loads(header)[BIAS])}}}'
    empty = {f"t{place}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for place in range(200_000)}
    page = b"<!DOCTYPE html>\n<html><body>Sign in to download this model</body></html>" * 50
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265380512\n"
    return {
        "truncated": (good[:-1000], "it is cut short or altered. Fetch it again."),
        "cut in its header": (good[:500], "is not a whole safetensors file; fetch it again"),
        "zero-filled": (
            bytes(100_000),
            "it begins with zeros, as space that no download filled; fetch it again",
        ),
        "zeros at its end": (good[:-4096] + bytes(4096), None),
        "a web page": (page, "it is a web page, such as a site's page for errors or for signing in"),
        "a pointer of Git LFS": (pointer, "fetch the file itself with `git lfs pull`"),
        "GGUF": (
            b"GGUF" + bytes(200),
            "it is a GGUF file, which is not read here; give the model as .safetensors",
        ),
        "a flipped header": (good[:20] + b"\xff" + good[21:], "it does not begin with a header"),
        "a flipped length": (b"\xff" * 8 + good[8:], "is not a whole safetensors file; fetch it again"),
        "200,000 empty tensors": (
            with_header(json.dumps(empty).encode()),
            "200,000 tensors; at most 50,000 are read",
        ),
        "a name twice": (with_header(twice.encode()) + good[8 + length :], f"holds '{BIAS}' twice"),
        "a pickle renamed": (pickle.dumps(Trap()), "is a pickled file, which can run code as it is read"),
        "nothing": (b"", "is not a whole safetensors file; fetch it again"),
    }


FAULTS = {name: fault for name, fault in contents().items() if fault[1] is not None}
WAYS = {
    "load": lambda path: unnoise.load(path),
    "inspect": lambda path: inspect(path),
    "convert": lambda path: convert(path, "out"),
}
COMMANDS = {
    "inspect": ("inspect", "bad.safetensors"),
    "convert": ("convert", "bad.safetensors", "out"),
    "generate": ("generate", "a house", "-m", "bad.safetensors", "-o", "x.png"),
    "lora": ("generate", "a seven", "-m", "digits", "--lora", "bad.safetensors", "-o", "x.png"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("fault", FAULTS)
def test_every_way_in_refuses_it_and_leaves_nothing(here, capsys, fault):
    content, said = FAULTS[fault]
    path = here / "bad.safetensors"
    path.write_bytes(content)
    for way in WAYS.values():
        with pytest.raises(FileError) as caught:
            way(path)
        assert said in str(caught.value)
        assert "bad.safetensors" in str(caught.value)
    for words in COMMANDS.values():
        assert main(list(words)) == 1, words
        told = capsys.readouterr()
        assert said in told.err
        assert (told.out, told.err.count("\n")) == ("", 1)
    assert names(here) == ["bad.safetensors"]
    assert path.read_bytes() == content


WRONG = {
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": torch.zeros(3, 1)}, "is Flux"),
    "Stable Diffusion 3": (
        {"joint_blocks.0.x_block.attn.qkv.weight": torch.zeros(3, 1)},
        "is Stable Diffusion 3",
    ),
    "a LoRA": ({"lora_unet_x.lora_up.weight": torch.zeros(1, 1)}, "is a LoRA, which changes a model"),
    "an autoencoder": ({"decoder.conv_in.weight": torch.zeros(1)}, "is an autoencoder alone"),
    "an embedding": (
        {"emb_params": torch.zeros(1, 768)},
        "is a word of a textual inversion, for --embedding",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_family_or_kind_is_named(here, capsys, kind):
    """`inspect` tells what the file is; every way that would use it as a model refuses."""
    tensors, said = WRONG[kind]
    save_file(tensors, here / "bad.safetensors")
    for way in (WAYS["load"], WAYS["convert"]):
        with pytest.raises(FileError) as caught:
            way(here / "bad.safetensors")
        assert said in str(caught.value)
    for name in ("convert", "generate"):
        assert main(list(COMMANDS[name])) == 1
        assert said in capsys.readouterr().err
    assert main(["inspect", "bad.safetensors"]) == 0
    assert capsys.readouterr().out
    assert names(here) == ["bad.safetensors"]


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.safetensors"])
@pytest.mark.parametrize("archive", [False, True])
def test_a_pickle_with_code_runs_nothing(here, capsys, name, archive):
    """As torch writes it (a zip), and bare; under its own name, and renamed."""
    if archive:
        torch.save({"state_dict": {BIAS: torch.zeros(4)}, "more": Trap()}, here / name)
    else:
        (here / name).write_bytes(pickle.dumps(Trap()))
    for way in (WAYS["load"], WAYS["convert"]):
        with pytest.raises(FileError, match="pickle"):
            way(here / name)
    for words in (("convert", name, "out"), ("generate", "a house", "-m", name), ("inspect", name)):
        assert main(list(words)) == 1
        assert "pickle" in capsys.readouterr().err
    assert names(here) == [name]


PLACES = {
    "a model": ("-m", "evil{}"),
    "a LoRA": ("-m", "digits", "--lora", "evil{}"),
    "an embedding": ("-m", "mini.safetensors", "--embedding", "evil{}"),
    "a ControlNet": ("-m", "mini.safetensors", "--control", "evil{}", "--control-image", "hint.png"),
}


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_with_code_runs_nothing_in_any_place(here, capsys, place, ending):
    miniature_file.checkpoint(here / "mini.safetensors")
    Image.new("L", (16, 16)).save(here / "hint.png")
    for content in (pickle.dumps(Trap()), pickle.dumps({"state_dict": {BIAS: Trap()}})):
        (here / f"evil{ending}").write_bytes(content)
        before = names(here)
        words = [word.format(ending) for word in PLACES[place]]
        assert main(["generate", "a house", *words, "-o", "x.png"]) in (1, 2)
        told = capsys.readouterr().err
        assert "pickle" in told
        assert "Traceback" not in told
        assert names(here) == before
    pickle.loads(pickle.dumps(Trap())).close()  # what all of these would have done
    assert "sprung" in names(here)


BOMBS = """
import sys, time
from pathlib import Path
from unnoise import errors, images
from unnoise.checkpoints import header

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

for name in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before, begun = peak(), time.process_time()
    try:
        images.open_picture(Path(name)) if name.endswith("png") else header.read_header(Path(name))
        print(name, "taken", 0, 0)
    except errors.UnnoiseError:
        print(Path(name).name, "refused", peak() - before, time.process_time() - begun)
"""


def bombs(folder):
    """Files that ask for far more memory than they have bytes; their paths."""
    one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    long = b'{"a": "' + b" " * (2**24)  # a header of more than is read
    made = {
        "long.safetensors": struct.pack("<Q", 100_000_000) + long,
        "lies.safetensors": struct.pack("<Q", 2**60) + b"{}",
        "many.safetensors": FAULTS["200,000 empty tensors"][0],
        "twice.safetensors": FAULTS["a name twice"][0],
        "wide.safetensors": with_header(json.dumps({"a": {**one, "shape": [2**60, 2**60]}}).encode()),
        "deep.safetensors": with_header(b"[" * 1_000_000),
        "13k.png": blank(13_000),
        "50k.png": blank(50_000),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in made]


def blank(side):
    """A whole PNG of one colour, a thousandth of its pixels' size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(1), bytes(1000 * (1 + (side + 7) // 8))
    pixels = b"".join(packer.compress(rows) for _ in range(side // 1000)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_bomb_is_refused_without_the_memory_that_it_asks_for(tmp_path):
    paths = bombs(tmp_path)
    done = subprocess.run([sys.executable, "-c", BOMBS, *paths], capture_output=True, text=True, check=True)
    told = [line.split() for line in done.stdout.splitlines()]
    assert [(name, verdict) for name, verdict, *_ in told] == [
        (path.rpartition("/")[2], "refused") for path in paths
    ]
    assert all(float(grown) < 100 for _, _, grown, _ in told), told


def test_zeros_where_weights_were_are_a_model_and_that_is_why_files_have_hashes(here):
    """The format has no checksum: what cannot be refused by looking is told by `inspect`, as a hash to compare."""
    content, _ = contents()["zeros at its end"]
    path = here / "bad.safetensors"
    path.write_bytes(content)
    assert inspect(path).sha256 != inspect(miniature_file.checkpoint(here / "good.safetensors")).sha256
