"""Fifty recorded samples of other programs, and texts that mean harm."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from recorded.extensions import EXTENDED
from recorded.graphs import ADVANCED, COMFYUI, graph, sampler
from recorded.tables import TABLES
from recorded.web_ui import A1111, KIN
from unnoise import checkpoints, images
from unnoise.checkpoints import recipes
from unnoise.errors import FileError, InputError
from unnoise.pipelines import Recipe

PARAMETERS = [*A1111, *KIN, *EXTENDED]
SAMPLES = [*PARAMETERS, *COMFYUI, *TABLES]


def test_there_are_fifty_texts_of_parameters_and_nine_programs():
    assert len(PARAMETERS) >= 50
    assert all(set(chunks) == {"parameters"} for _, chunks, _ in PARAMETERS)
    assert len({recipes.read_chunks(chunks).program for _, chunks, _ in SAMPLES}) >= 9
    assert len({name for name, _, _ in SAMPLES}) == len(SAMPLES)


@pytest.mark.parametrize(("name", "chunks", "expected"), SAMPLES, ids=[name for name, *_ in SAMPLES])
def test_a_recorded_sample_means_what_its_program_meant(name, chunks, expected):
    found = recipes.read_chunks(chunks)
    assert {field: getattr(found, field) for field in expected} == expected


@pytest.mark.parametrize(("name", "chunks", "expected"), SAMPLES, ids=[name for name, *_ in SAMPLES])
def test_a_recorded_sample_goes_through_our_text_and_comes_back(name, chunks, expected, tmp_path):
    recipe = Recipe.from_found(recipes.read_chunks(chunks))
    path = tmp_path / "a.png"
    images.write_png(path, Image.new("L", (2, 2)), {"parameters": recipe.to_parameters()})
    again = Recipe.from_png(path)
    assert again == Recipe(**{**recipe.to_dict(), "model_hash": recipe.model_hash[:10]})


@pytest.mark.parametrize("ending", ["jpg", "webp"])
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_a_comment_in_exif_is_read(tmp_path, ending, order):
    text = A1111[6][1]["parameters"] + " ✓"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    assert images.read_text(path)["UserComment"] == text
    assert recipes.read_chunks(images.read_text(path)).model == "one, two"


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "朝の港、霧\nSteps: 20, Seed: 7".encode("utf-16-le"),
        b"UNICODE\0\xff\xfe" + "朝の港、霧\nSteps: 20, Seed: 7".encode("utf-16-le"),
        b"UNICODE\0\xfe\xff" + "朝の港、霧\nSteps: 20, Seed: 7".encode("utf-16-be"),
        b"ASCII\0\0\0" + "朝の港、霧\nSteps: 20, Seed: 7".encode(),
    ],
    ids=["little", "little with a mark", "big with a mark", "UTF-8 that is called ASCII"],
)
def test_the_letters_of_a_comment_are_told_from_all_of_it(tmp_path, comment):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert Recipe.from_png(tmp_path / "a.jpg").prompt == "朝の港、霧"


@pytest.mark.parametrize("packed", [False, True])
def test_utf_8_in_a_chunk_of_latin_1_is_read_as_what_it_is(tmp_path, packed):
    chunks = PngInfo()
    chunks.add_text("parameters", "朝の港 café\nSteps: 20, Seed: 7".encode().decode("latin-1"), zip=packed)
    Image.new("L", (2, 2)).save(tmp_path / "a.png", pnginfo=chunks)
    assert Recipe.from_png(tmp_path / "a.png").prompt == "朝の港 café"


@pytest.mark.parametrize("text", ["café", "\xc3\xa9 is what é looks like", "\xe9\xc3"])
def test_latin_1_comes_back_as_it_was_written(tmp_path, text):
    images.write_png(tmp_path / "a.png", Image.new("L", (2, 2)), {"parameters": text})
    assert images.read_text(tmp_path / "a.png") == {"parameters": text}


def test_a_setting_that_is_no_number_is_named():
    with pytest.raises(InputError, match="Denoising strength is 'high'"):
        Recipe.from_parameters("x\nSteps: 20, Seed: 7, Denoising strength: high")


def test_comfyui_s_fields_of_a_webp_are_read(tmp_path):
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(graph())
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    assert recipes.read_chunks(images.read_text(tmp_path / "a.webp")).prompt == "a glass bottle"


def test_a_photograph_has_no_recipe(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "A camera maker", "Its camera"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert recipes.read_chunks(images.read_text(tmp_path / "a.jpg")) is None


@pytest.mark.parametrize("text", [" ", "\n\n", "\0"])
def test_a_blank_text_is_no_recipe(text):
    assert recipes.read_chunks({"parameters": text}) is None


def test_inspect_shows_a_foreign_recipe(tmp_path):
    images.write_png(tmp_path / "a.png", Image.new("L", (2, 2)), COMFYUI[0][1])
    recipe = checkpoints.inspect(tmp_path / "a.png").details["recipe"]
    assert (recipe["program"], recipe["seed"]) == ("ComfyUI", 156680208700286)
    images.write_png(
        tmp_path / "b.png", Image.new("L", (2, 2)), {"parameters": "x\nSteps: 3, Seed: y, Size: 1x1"}
    )
    assert "make no sense" in checkpoints.inspect(tmp_path / "b.png").details["problem"]


CIRCLE = graph(
    n4={"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "lora_name": ["4", 0]}},
    n5={"class_type": "EmptyLatentImage", "inputs": {"width": ["5", 0], "height": ["5", 0]}},
    n6={"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0]}},
    n7={
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["7", 0], "conditioning_2": ["7", 1]},
    },
    n3=sampler(seed=["3", 0], latent_image=["3", 0]),
)
NOWHERE = {"1": ADVANCED, "2": {"class_type": "SaveImage", "inputs": {"images": ["77", 3]}}, "3": 5, "4": {}}
LONG = {
    str(place): sampler(latent_image=[str(place + 1), 0], model=[str(place + 1), 0]) for place in range(300)
}


@pytest.mark.parametrize(
    "written",
    [
        CIRCLE,
        NOWHERE,
        LONG,
        {"a": {"class_type": 3, "inputs": {"positive": [1, 2]}}},
        {"nodes": [None, {"id": [1]}]},
    ],
    ids=["circle", "nowhere", "long", "odd", "page"],
)
@pytest.mark.parametrize("name", ["prompt", "workflow"])
def test_a_graph_that_leads_astray_ends(name, written):
    found = recipes.read_chunks({name: json.dumps(written)})
    assert found is None or found.program == "ComfyUI"


@pytest.mark.parametrize(
    "name", ["prompt", "workflow", "parameters", "invokeai_metadata", "sd-metadata", "Comment"]
)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "{",
        '{"image": 3}',
        '{"nodes": {}, "links": 3}',
        '{"seed": ' + "9" * 5000 + "}",
    ],
    ids=["brackets", "braces", "cut", "image", "links", "number"],
)
def test_json_that_is_deep_cut_or_odd_is_no_recipe(name, text):
    found = recipes.read_chunks({name: text})
    assert found is None or name in ("parameters", "invokeai_metadata")


def test_more_nodes_than_a_graph_has_are_refused():
    many = {str(place): sampler() for place in range(5_001)}
    with pytest.raises(InputError, match="5,001 nodes is no recipe"):
        recipes.read_chunks({"prompt": json.dumps(many)})


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["inputs", "class_type", "image", "prompt", "model", "loras", "nodes", "links", "id", "type", "seed", "caption",
         "latent_image", "positive", "guider", "sampler_name", "widgets_values", "base_model", "v4_prompt", "uc"]
    ), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(
    st.sampled_from(
        ["prompt", "workflow", "parameters", "invokeai_metadata", "sd-metadata", "Comment", "UserComment"]
    ),
    json_like,
)
def test_no_table_crashes_a_reader(name, written):
    with contextlib.suppress(InputError):
        recipes.read_chunks({name: json.dumps(written)})


@given(st.text(), st.sampled_from(["Dream", "parameters", "UserComment", "Model"]))
def test_no_text_crashes_a_reader(text, name):
    with contextlib.suppress(InputError):
        recipes.read_chunks({name: text})


@pytest.mark.parametrize("part", ["a: ", "a: 1, ", 'Steps: "', "Steps: [", 'a: {"a": [0, ', 'a: ["b: [", '])
def test_a_line_of_settings_without_end_is_refused_or_read_soon(part):
    with pytest.raises(InputError, match="no recipe"):
        recipes.read_chunks({"parameters": "Steps: 1, " + part * 1_000_000})
    with contextlib.suppress(InputError):
        recipes.read_chunks({"parameters": "Steps: 1, " + part * (90_000 // len(part))})


@pytest.mark.parametrize("compressed", [False, True])
def test_more_text_than_a_recipe_can_be_is_refused(tmp_path, compressed):
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("parameters", "a" * (images.TEXT_LIMIT + 1), zip=compressed)
    Image.new("L", (2, 2)).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.raises(FileError, match=r"(holds|it holds) .*text") as caught:
        images.read_text(tmp_path / "a.png")
    assert "damaged" not in str(caught.value)


def test_a_picture_with_more_packed_text_than_its_reader_takes_is_told_as_that(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("workflow", "a" * 2**21, zip=True)
    Image.new("L", (2, 2)).save(tmp_path / "a.png", pnginfo=chunks)
    for read in (images.read_text, images.open_picture, images.read_size):
        with pytest.raises(
            FileError, match="it holds more text than PIL reads; save it again without its texts"
        ):
            read(tmp_path / "a.png")
