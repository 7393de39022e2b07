import json
import re

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from unnoise import checkpoints
from unnoise.schedulers import names


def test_inspect_tells_what_a_model_is(run, tiny):
    status, out, _ = run("inspect", tiny)
    assert status == 0
    for words in (
        "sha256",
        "8x8, 1 channel",
        "velocity",
        "kind cosine",
        "steps 4, guidance 2.0",
        "random numbers",
    ):
        assert words in out
    facts = json.loads(run("inspect", tiny, "--json")[1])
    assert facts["kind"] == "model"
    assert facts["short_hash"] == facts["sha256"][:10]


def test_inspect_tells_of_a_damaged_model(run, tmp_path, tiny):
    import shutil

    broken = shutil.copytree(tiny, tmp_path / "broken")
    path = broken / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\1\2\3")
    assert "damaged" in run("inspect", broken)[1]


def test_inspect_tells_what_a_file_of_weights_holds(run, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5).half()}, path, metadata={"ss_steps": "100"})
    out = run("inspect", path)[1]
    for words in ("17 numbers in 2 tensors", "12 F32", "5 F16", "short hash", "ss_steps"):
        assert words in out


def test_inspect_tells_the_recipe_of_a_picture(run, tiny, tmp_path):
    run("generate", "a seven", "-m", tiny, "-o", "x.png", "-s", 7, "-n", "two")
    out = run("inspect", "x.png")[1]
    for words in ("8x8", "a seven", "two", "DPM++ 2M", "tiny"):
        assert words in out
    assert "prompt style a1111" in out  # twelve letters, as wide as the column
    assert "Steps:" not in out
    assert json.loads(run("inspect", "x.png", "--json")[1])["details"]["recipe"]["seed"] == 7


def test_inspect_tells_a_seed_and_a_guidance_of_0(run, tiny):
    assert run("generate", "a seven", "-m", tiny, "--seed", "0", "--guidance", "0", "--out", "x.png")[0] == 0
    out = run("inspect", "x.png")[1]
    assert re.search(r"^seed +0$", out, re.MULTILINE)
    assert re.search(r"^guidance +0", out, re.MULTILINE)


def test_inspect_tells_the_text_of_another_tools_picture(run, tmp_path):
    from unnoise import images

    images.write_png(tmp_path / "a.png", Image.new("L", (4, 4)), {"parameters": "x\nSteps: 3"})
    out = run("inspect", "a.png")[1]
    assert "A1111" in out
    assert "steps       3" in out
    Image.new("L", (4, 4)).save(tmp_path / "b.jpg")
    assert "none" in run("inspect", "b.jpg")[1]


def test_a_picture_s_words_give_the_terminal_no_orders(run, tmp_path):
    """An escape sequence in a stranger's prompt would change its title or colours, or clear it."""
    orders = PngInfo()
    orders.add_text(
        "parameters", "a cat \x1b]0;mine\x07\x9b2J 🍎\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 8x8"
    )
    Image.new("L", (8, 8)).save(tmp_path / "theirs.png", pnginfo=orders)
    told = run("inspect", "theirs.png")[1]
    assert r"a cat \x1b]0;mine\x07\x9b2J 🍎" in told
    assert told.replace("\n", "").isprintable()


def test_models_lists_what_ships(run, monkeypatch, tiny):
    from unnoise.checkpoints import locations

    monkeypatch.setattr(locations, "SHIPPED", tiny.parent)
    out = run("models")[1]
    assert out.startswith("tiny  8x8, ")
    assert "random numbers" in out
    assert json.loads(run("models", "--json")[1])["tiny"]["width"] == 8
    monkeypatch.setattr(locations, "SHIPPED", tiny)
    assert "unnoise train" in run("models")[1]
    assert checkpoints.shipped() == {}


def test_schedulers_lists_every_name(run):
    out = run("schedulers")[1]
    assert all(row.name in out for row in names.table())
    told = json.loads(run("schedulers", "--json")[1])
    assert [row["name"] for row in told["schedulers"]] == [row.name for row in names.table()]
    assert "Karras" in told["grids"]


@pytest.mark.parametrize("command", ["generate", "train", "inspect", "models", "schedulers"])
def test_every_command_has_help(run, capsys, command):
    with pytest.raises(SystemExit) as left:
        run(command, "--help")
    assert left.value.code == 0
    assert f"usage: unnoise {command}" in capsys.readouterr().out
