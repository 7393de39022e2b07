"""Words, ControlNets, LoRAs and edits in recipes: recorded with their hashes, found again by them, and else told."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import adapter_files
import miniature_file
from recorded import graphs
from tiny_model import tiny_model
from unnoise import images
from unnoise.cli import main
from unnoise.errors import FileError, InputError
from unnoise.networks.unet import UNet
from unnoise.pipelines import Edit, Recipe, Repeat, TextToImage, load, verify
from unnoise.process import DiscreteVP

SMALL = {"width": 16, "height": 16, "steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A miniature of Stable Diffusion, what steers it and what it was taught, and a picture made with all of it."""
    folder = tmp_path_factory.mktemp("made")
    miniature_file.checkpoint(folder / "mini.safetensors")
    for part in ("words", "controls"):
        (folder / part).mkdir()
    miniature_file.word(folder / "words" / "inkstyle.safetensors")
    miniature_file.control(folder / "controls" / "edges.safetensors")
    Image.fromarray(np.uint8(np.add.outer(np.arange(16), np.arange(16)) * 8)).save(
        folder / "controls" / "house.png"
    )
    pipe = load(folder / "mini.safetensors")
    adapted = pipe.with_word(folder / "words" / "inkstyle.safetensors")
    adapted = adapted.with_control(
        folder / "controls" / "edges.safetensors", folder / "controls" / "house.png", 0.8, end=0.5
    )
    result = adapted("a house in Inkstyle", **SMALL)
    images.write_png(folder / "made.png", result.images[0], result.recipes[0].png_text())
    return folder, pipe, adapted, result


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folders(folder):
    return {"embedding_dir": folder / "words", "control_dir": folder / "controls"}


def test_a_depth_map_of_sixteen_bits_steers_as_one_of_eight(made):
    folder, pipe, _, _ = made
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1))
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    deep.save(folder / "depth.png")
    control = folder / "controls" / "edges.safetensors"
    shallow, *others = (
        pipe.with_control(control, given)("a house", **SMALL)
        for given in (Image.fromarray(ramp), deep, folder / "depth.png")
    )
    for other in others:
        assert np.array_equal(other.arrays[0], shallow.arrays[0])
        assert other.recipes[0].adapters == shallow.recipes[0].adapters


def test_a_recipe_holds_the_hashes_of_words_controls_and_their_pictures(made):
    folder, _, adapted, result = made
    word, control = (
        sha256(folder / place)[:12] for place in ("words/inkstyle.safetensors", "controls/edges.safetensors")
    )
    picture = images.open_picture(folder / "controls" / "house.png").convert("RGB")
    pixels = hashlib.sha256(b"16x16" + picture.tobytes()).hexdigest()[:12]
    assert result.recipes[0].adapters == (
        f"word inkstyle:inkstyle.safetensors:{word}, control edges.safetensors:0.8:{control}:{pixels}:0-0.5"
    )
    assert f'TI hashes: "inkstyle: {word}"' in result.recipes[0].to_parameters()
    # a word that no prompt has is in no recipe
    assert "word" not in adapted("a house", **SMALL).recipes[0].adapters


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("chunk", ["unnoise", "parameters"])
def test_both_are_found_again_by_name_or_by_hash(made, tmp_path, renamed, chunk):
    folder, pipe, _, result = made
    for part in ("words", "controls"):
        shutil.copytree(folder / part, tmp_path / part)
    if renamed:
        for place in ("words/inkstyle.safetensors", "controls/edges.safetensors", "controls/house.png"):
            path = tmp_path / place
            path.rename(path.with_name(f"other{path.suffix}"))
        # of the old name, and something else
        miniature_file.word(tmp_path / "words" / "inkstyle.safetensors", seed=2)
    path = tmp_path / "a.png"
    images.write_png(path, result.images[0], {chunk: result.recipes[0].png_text()[chunk]})
    repeat = Repeat.of(path, pipe.model, **folders(tmp_path))
    assert repeat.notes == ()
    again = repeat.denoise(pipe).result()
    assert np.array_equal(again.arrays[0], result.arrays[0])
    found = verify(pipe, path, **folders(tmp_path))
    assert found.verdict == "bit-equal"


def test_what_is_not_found_is_said_and_the_rest_is_made(made, tmp_path):
    folder, pipe, adapted, _ = made
    path = folder / "made.png"
    found = verify(pipe, path)
    assert found.verdict == "different"
    assert "the word 'inkstyle' of the embedding 'inkstyle.safetensors' (hash" in found.reasons[0]
    assert found.reasons[0].endswith("is not applied; its folder is not given (--embedding-dir)")
    assert "ControlNet 'edges.safetensors'" in found.reasons[1]
    assert found.reasons[1].endswith("is not applied; its folder is not given (--control-dir)")
    said = Repeat.of(path, pipe.model, embedding_dir=tmp_path, control_dir=tmp_path).notes
    assert all(f"no file in '{tmp_path}' has its name or its hash" in note for note in said)
    shutil.copy(folder / "controls" / "edges.safetensors", tmp_path)
    (note,) = Repeat.of(path, pipe.model, embedding_dir=folder / "words", control_dir=tmp_path).notes
    assert "its picture (hash" in note
    assert note.endswith("give both with --control and --control-image")
    assert verify(adapted, path).verdict == "bit-equal"
    with pytest.raises(FileError, match="there is no folder"):
        Repeat.of(path, pipe.model, control_dir=tmp_path / "none")


def test_what_is_here_and_other_than_it_was_is_said(made, tmp_path):
    folder, pipe, _, _ = made
    miniature_file.word(tmp_path / "inkstyle.safetensors", seed=2)
    other = pipe.with_word(tmp_path / "inkstyle.safetensors")
    other = other.with_control(folder / "controls" / "edges.safetensors", Image.new("L", (16, 16)), 0.5)
    said = verify(other, folder / "made.png").reasons
    assert "word 'inkstyle' had the hash" in said[0]
    assert "the picture of ControlNet 'edges.safetensors' had the hash" in said[1]
    assert said[2] == (
        "ControlNet 'edges.safetensors' is at 0.5 in the steps 0 to 1 here and was at 0.8 in the steps 0 to 0.5"
    )


def test_the_command_line_repeats_and_verifies(made, tmp_path, monkeypatch, capsys):
    folder, *_ = made
    monkeypatch.chdir(tmp_path)
    model = ["-m", str(folder / "mini.safetensors")]
    given = ["--embedding-dir", str(folder / "words"), "--control-dir", str(folder / "controls")]
    assert main(["generate", "--from", str(folder / "made.png"), "-o", "again.png", *model, *given]) == 0
    assert "note" not in capsys.readouterr().err
    one, other = (images.open_picture(path) for path in (folder / "made.png", tmp_path / "again.png"))
    assert np.array_equal(np.asarray(one), np.asarray(other))
    assert Recipe.from_png(tmp_path / "again.png") == Recipe.from_png(folder / "made.png")
    assert main(["verify", "again.png", *model, *given]) == 0
    assert main(["verify", "again.png", *model]) == 1
    assert "its folder is not given (--control-dir)" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tiny():
    return TextToImage(tiny_model(schedule=DiscreteVP.scaled_linear(), name="tiny"))


def numbers(path):
    """The sha256 of what follows the header, as the format says."""
    content = path.read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def test_hashes_of_loras_are_a1111_s_and_find_a_renamed_file(tiny, tmp_path):
    path = adapter_files.kohya(tiny.model, tmp_path / "ink.safetensors", metadata={"ss_steps": "1"})
    made = tiny.with_lora(path, 0.8)("a seven <lora:ink:0.8>", seed=3, steps=2)
    text = made.recipes[0].to_parameters()
    assert f'Lora hashes: "ink: {numbers(path)[:12]}"' in text
    images.write_png(tmp_path / "a.png", made.images[0], made.recipes[0].png_text())
    images.write_png(tmp_path / "b.png", made.images[0], {"parameters": text})
    path.unlink()
    # the same numbers under another name and with other metadata
    adapter_files.kohya(tiny.model, tmp_path / "wash.safetensors", metadata={"ss_steps": "2"})
    for place in ("a.png", "b.png"):
        assert verify(tiny, tmp_path / place, lora_dir=tmp_path).verdict == "bit-equal"
        repeat = Repeat.of(tmp_path / place, tiny.model, tmp_path)
        assert repeat.adapted(tiny)(
            "a <lora:ink:0.8>", seed=1, steps=1
        ).images  # it is called as the prompt has it


def test_weights_are_kept_to_the_last_digit(tiny, tmp_path):
    path = adapter_files.kohya(tiny.model, tmp_path / "ink.safetensors")
    adapted = tiny.with_lora(path, 1 / 3)
    made = adapted("a seven", seed=3, steps=2)
    images.write_png(tmp_path / "a.png", made.images[0], made.recipes[0].png_text())
    assert [one.weight for one in Repeat.of(tmp_path / "a.png", tiny.model, tmp_path).loras] == [1 / 3]
    assert Repeat.of(tmp_path / "a.png", adapted.model).notes == ()


@pytest.mark.parametrize("name", ["word art", "control sliders", "refiner of skin", "INK.SAFETENSORS"])
def test_a_lora_may_be_called_as_another_kind_of_adapter(tiny, tmp_path, name):
    path = adapter_files.kohya(tiny.model, tmp_path / "made.safetensors")
    path = path.rename(tmp_path / (name if name.isupper() else f"{name}.safetensors"))
    name = name.removesuffix(".SAFETENSORS")
    made = tiny.with_lora(path, 0.8)("a seven", seed=3, steps=2)
    assert f"<lora:{name}:0.8>" in made.recipes[0].to_parameters()
    images.write_png(tmp_path / "a.png", made.images[0], made.recipes[0].png_text())
    assert verify(tiny, tmp_path / "a.png", lora_dir=tmp_path).verdict == "bit-equal"


THEIRS = (
    "a seven <lora:ink:0.8>, wash\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 2, Seed: 5, Size: 8x8, "
    'Lora hashes: "ink: {lora}", TI hashes: "wash: {word}", Version: v1.10.1'
)


def test_a1111_s_hashes_are_heeded(tiny, tmp_path):
    path = adapter_files.kohya(tiny.model, tmp_path / "other.safetensors")
    text = THEIRS.format(lora=numbers(path)[:12], word="0123456789ab")
    images.write_png(tmp_path / "a.png", Image.new("L", (8, 8)), {"parameters": text})
    repeat = Repeat.of(tmp_path / "a.png", tiny.model, tmp_path)
    assert [(one.file, one.name, one.weight) for one in repeat.loras] == [(path, "ink", 0.8)]
    assert any(
        note
        == "the word 'wash' of the embedding 'wash' (hash 0123456789ab) is not applied; its folder is not given "
        "(--embedding-dir)"
        for note in repeat.notes
    )
    path.rename(tmp_path / "ink.safetensors")
    wrong = THEIRS.format(lora="ba9876543210", word="0123456789ab")
    images.write_png(tmp_path / "b.png", Image.new("L", (8, 8)), {"parameters": wrong})
    said = Repeat.of(tmp_path / "b.png", tiny.model, tmp_path).notes
    assert any(
        "LoRA 'ink' at 0.8 had the hash ba9876543210; the file 'ink.safetensors' is another" in n
        for n in said
    )


def test_an_embedding_that_comfyui_s_prompt_names_is_looked_up(made, tmp_path):
    folder, pipe, *_ = made
    nodes = graphs.graph(n6=graphs.words("a house in embedding:styles/inkstyle.pt"))
    images.write_png(tmp_path / "a.png", Image.new("L", (8, 8)), {"prompt": json.dumps(nodes)})
    found = Repeat.of(tmp_path / "a.png", pipe.model, embedding_dir=folder / "words")
    assert found.words == ((folder / "words" / "inkstyle.safetensors", "inkstyle"),)
    options = {**SMALL, "prompt_style": "comfyui"}
    picture = found.adapted(pipe)("a house in embedding:styles/inkstyle.pt", **options).images[0]
    assert picture.tobytes() == found.adapted(pipe)("a house in inkstyle", **options).images[0].tobytes()
    assert picture.tobytes() != pipe("a house in embedding:styles/inkstyle.pt", **options).images[0].tobytes()
    notes = Repeat.of(tmp_path / "a.png", pipe.model).notes
    assert any(note.startswith("the word 'inkstyle' of the embedding 'inkstyle' is not") for note in notes)


@pytest.mark.parametrize("chunk", ["unnoise", "parameters"])
def test_an_edit_is_verified_with_its_picture_and_asks_for_it(tiny, tmp_path, chunk):
    config = replace(tiny.model.network.config, in_channels=2)
    pipe = TextToImage(replace(tiny.model, network=miniature_file.stirred(UNet(config))))
    init = Image.fromarray(np.uint8(np.add.outer(np.arange(8), np.arange(8)) * 16))
    made = Edit(pipe.model)("a red apple", init, picture_guidance=1.2, guidance=3.0, seed=3, steps=3)
    recipe = made.recipes[0]
    assert (recipe.variant, recipe.image_guidance, recipe.guidance) == ("edit", 1.2, 3.0)
    path = tmp_path / "a.png"
    images.write_png(path, made.images[0], {chunk: recipe.png_text()[chunk]})
    assert verify(pipe, path, init=init).verdict == "bit-equal"
    found = verify(pipe, path, init=init.rotate(90))
    assert found.verdict == "different"
    assert "is not the picture that it was made with" in found.reasons[-1]
    if chunk == "unnoise":
        with pytest.raises(InputError, match=r"give that file with --init FILE"):
            verify(pipe, path)


def test_an_edit_passes_over_a_strength_and_other_models_over_the_picture_s_guidance(tiny, tmp_path):
    """A1111 writes a strength beside the guidance of an edit, whose runs begin with noise alone."""
    config = replace(tiny.model.network.config, in_channels=2)
    pipe = TextToImage(replace(tiny.model, network=miniature_file.stirred(UNet(config))))
    text = "a red apple\nSteps: 3, Sampler: Euler, CFG scale: 3, Seed: 3, Size: 8x8, Denoising strength: 0.6"
    init = Image.new("L", (8, 8), 100)
    images.write_png(tmp_path / "a.png", init, {"parameters": f"{text}, Image CFG scale: 1.2"})
    repeat = Repeat.of(tmp_path / "a.png", pipe.model)
    assert repeat.arguments == {"picture_guidance": 1.2}
    assert repeat.denoise(pipe, init).recipes[0].image_guidance == 1.2
    assert repeat.denoise(tiny, init).recipes[0].variant == "image to image"


def test_clip_skip_is_an_option_that_counts_as_a1111_does(made, tmp_path, monkeypatch, capsys):
    folder, pipe, *_ = made
    plain, last, before = (pipe("a house", clip_skip=skip, **SMALL) for skip in (None, 1, 2))
    assert np.array_equal(plain.arrays[0], last.arrays[0])
    assert not np.array_equal(plain.arrays[0], before.arrays[0])
    assert np.array_equal(before.arrays[0], pipe.with_clip_skip(2)("a house", **SMALL).arrays[0])
    assert (plain.recipes[0].clip_skip, before.recipes[0].clip_skip) == (0, 2)
    with pytest.raises(InputError, match=r"clip_skip is 3; this model's text encoder has 2 layers"):
        pipe("a house", clip_skip=3)
    monkeypatch.chdir(tmp_path)
    model = ["-m", str(folder / "mini.safetensors")]
    words = ["--size", "16x16", "--steps", "2", "-s", "3"]
    assert main(["generate", "a house", *model, *words, "--clip-skip", "2", "-o", "a.png"]) == 0
    assert np.array_equal(np.asarray(images.open_picture(tmp_path / "a.png")), np.asarray(before.images[0]))
    assert main(["verify", "a.png", *model]) == 0
    # what is typed has the last word
    assert main(["generate", "--from", "a.png", *model, "--clip-skip", "1", "-o", "b.png"]) == 0
    assert Recipe.from_png(tmp_path / "b.png").clip_skip == 1
    capsys.readouterr()
    assert main(["generate", "a house", *model, "--clip-skip", "0"]) == 2
    assert capsys.readouterr().err == (
        "unnoise: error: --clip-skip is 0; give a whole number from 1 to 100, for example 2.\n"
    )
