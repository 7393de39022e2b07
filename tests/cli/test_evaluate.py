"""`unnoise evaluate` with what a shell leaves to it."""

import json
from dataclasses import replace

from PIL import Image

from unnoise import checkpoints, load
from unnoise.networks.unet import UNet
from unnoise.process import DiscreteVP


def test_captions_are_heeded_wherever_the_home_stands_for_the_folder(run, tiny, tmp_path, monkeypatch):
    """The table of captions is looked up by the folder's path: of "~/data" none was found, and nothing said so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "metadata.jsonl").open("w", encoding="utf-8") as table:
        for place in range(3):
            Image.new("L", (8, 8), 80 * place).save(tmp_path / "data" / f"{place}.png")
            table.write(json.dumps({"file_name": f"{place}.png", "text": "a red apple"}) + "\n")
    words = ("evaluate", "likelihood", tiny, "--method", "vdm", "--calls", 2, "--json")
    told = run(*words, "~/data")
    assert told[0] == 0
    assert told == run(*words, "data")
    assert told != run(*words, "data", "--no-captions")
    people = ("evaluate", "likelihood", tiny, "--method", "vdm", "--calls", 2, "data")
    assert "; the model was told the captions; " in run(*people)[1]
    assert "; no captions; " in run(*people, "--no-captions")[1]
    (tmp_path / "data" / "metadata.jsonl").unlink()
    assert "; no captions; " in run(*people)[1]


def test_threads_are_those_for_as_many_pictures_as_the_network_is_asked_of_at_once(
    run, tiny, tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    for place in range(70):
        Image.new("L", (8, 8), 3 * place).save(tmp_path / "data" / f"{place}.png")
    told, seen, forward = [], [], UNet.forward
    monkeypatch.setattr("unnoise.cli.evaluate.fit_threads", lambda model, pictures: told.append(pictures))
    monkeypatch.setattr(
        UNet,
        "forward",
        lambda self, x, *rest, **more: (seen.append(len(x)), forward(self, x, *rest, **more))[1],
    )
    assert run("evaluate", "likelihood", tiny, "data", "--method", "vdm", "--calls", 2)[0] == 0
    assert told == [max(seen)]


def test_the_method_is_one_that_the_model_s_schedule_has_unless_one_is_named(run, tiny, tmp_path):
    (tmp_path / "data").mkdir()
    for place in range(3):
        Image.new("L", (8, 8), 80 * place).save(tmp_path / "data" / f"{place}.png")
    words = ("evaluate", "likelihood", tiny, "data", "--calls", 2)
    assert "(continuous-time bound)" in run(*words)[1]
    assert "(discrete bound)" in run(*words, "--steps", 5)[1]
    assert "give steps=1000 to lay one over it" in run(*words, "--method", "vlb")[2]
    assert "--tolerance is for --method ode, not vlb or vdm" in run(*words[:4], "--tolerance", 0.1)[2]
    plain = load(tiny).model
    checkpoints.save(replace(plain, schedule=DiscreteVP.linear(steps=20)), tmp_path / "discrete")
    assert "(discrete bound)" in run(*words[:2], "discrete", *words[3:])[1]
