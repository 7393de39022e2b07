"""`unnoise tune`, as typed."""

import json

import pytest
from PIL import Image

from tiny_model import save_tiny
from unnoise.pipelines import Recipe


def test_a_model_s_steps_are_tuned_and_then_used_by_name(run, tiny, tmp_path):
    words = ("tune", tiny, "--steps", 3, "--count", 8, "--rounds", 1, "--out", "t.json")
    status, out, _ = run(*words)
    assert status == 0
    assert "held-out seeds 1000000 to 1000063" in out
    assert "saved t.json; use it: --scheduler tuned:t.json" in out
    kept = json.loads((tmp_path / "t.json").read_text())
    assert (len(kept["ratios"]), kept["facts"]["guidance"], kept["facts"]["trajectories"]) == (3, 2.0, 8)
    assert kept["facts"]["held_out"]["after"]["median"] >= 0.0
    status, _, err = run("generate", "a seven", "-m", tiny, "--scheduler", "tuned:t.json", "--seed", 1)
    assert status == 0
    assert "3 steps of tuned:t.json" in err  # as many as it is made for, without --steps
    recipe = Recipe.from_png(tmp_path / "outputs" / "00001-1.png")
    assert (recipe.steps, recipe.scheduler) == (3, "tuned:t.json")
    status, _, err = run("generate", "a seven", "-m", tiny, "--scheduler", "tuned:t.json", "--steps", 5)
    assert (status, "lists 3 ratios" in err) == (2, True)
    status, _, err = run(*words)
    assert (status, "exists" in err) == (2, True)
    status, out, _ = run(*words, "--resume", "--json", "--levels-only")
    assert status == 0
    assert not any(json.loads(out)["changes"])  # one JSON object, and the factors are the solver's own


@pytest.mark.parametrize("words", [
    ("compare", "--schedulers", "Euler", "--steps", 2, "--count", 4, "--data", "real"),
    ("tune", "--steps", 2, "--count", 8, "--rounds", 1),
], ids=["compare", "tune"])  # fmt: skip
def test_a_prompt_for_a_model_without_words_is_refused_as_by_generate(run, tmp_path, words):
    folder = save_tiny(tmp_path / "wordless", text=False)
    (tmp_path / "real").mkdir()
    for grey in range(8):
        Image.new("L", (8, 8), 30 * grey).save(tmp_path / "real" / f"{grey}.png")
    status, _, err = run(words[0], folder, *words[1:], "--prompt", "a cat")
    assert (status, "this model heeds no prompt" in err) == (2, True)
    assert run(words[0], folder, *words[1:])[0] == 0


@pytest.mark.parametrize("words", [
    ("compare", "--schedulers", "DDIM,Nope"),
    ("tune", "--scheduler", "Nope"),
    ("inspect-run", "a", "--scheduler", "Nope"),
], ids=["compare", "tune", "inspect-run"])  # fmt: skip
def test_no_model_is_loaded_for_a_scheduler_that_is_none(run, tiny, monkeypatch, words):
    monkeypatch.setattr("unnoise.pipelines.load", lambda *_, **__: pytest.fail("a model was loaded"))
    model = ("-m", tiny) if words[0] == "inspect-run" else (tiny,)
    status, _, err = run(words[0], *model, *words[1:])
    assert (status, "scheduler 'Nope' is not known" in err) == (2, True)


def test_what_cannot_be_tuned_is_refused(run, tiny, tmp_path):
    status, _, err = run("tune", tiny, "--scheduler", "Euler a", "--steps", 3)
    assert (status, "draws noise" in err) == (2, True)
    status, _, err = run("generate", "a seven", "-m", tiny, "--scheduler", "tuned:none.json")
    assert (status, "cannot read 'none.json'" in err) == (1, True)
    assert not list(tmp_path.glob("*.json"))
