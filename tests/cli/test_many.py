"""`unnoise generate --prompts FILE`: every row one picture, made once, by however many shards."""

import csv
import json
from dataclasses import dataclass

import pytest
from PIL import Image

from unnoise.cli import many, requests
from unnoise.errors import InputError
from unnoise.pipelines import Recipe

ROWS = [
    {"prompt": "a seven"},
    {"prompt": "a red apple", "seed": 5, "steps": 3},
    {"prompt": "a seven"},
    {"prompt": "the number two", "negative": "a seven", "guidance": 3.0},
    {"prompt": "a seven", "scheduler": "Euler", "width": 16, "height": 8},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_row_is_the_picture_that_the_row_alone_makes(run, tiny, file, tmp_path):
    status, out, _ = run("generate", "--prompts", file, "-m", tiny, "--steps", 2, "-o", "all", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [entry["made"] for entry in told] == [True] * 5
    recipes = [Recipe.from_png(tmp_path / entry["path"]) for entry in told]
    assert [recipe.seed for recipe in recipes] == [0, 5, 1, 0, 0]  # equal rows differ by their seed
    assert [recipe.steps for recipe in recipes] == [2, 3, 2, 2, 2]
    assert recipes[4].scheduler == "Euler"
    with Image.open(tmp_path / told[4]["path"]) as wide:
        assert wide.size == (16, 8)
    run("generate", "a red apple", "-m", tiny, "--steps", 3, "--seed", 5, "-o", "alone.png")
    with Image.open(tmp_path / "alone.png") as alone, Image.open(tmp_path / told[1]["path"]) as row:
        assert alone.tobytes() == row.tobytes()


def test_a_setting_that_says_nothing_names_no_picture_anew():
    """So pictures of a file of prompts are still there when a later version has one setting more."""

    @dataclass(frozen=True)
    class Later(Recipe):
        mirrored: bool = False
        turned: float = 0.0

    words = {"prompt": "a seven", "seed": 3, "guidance": 2.0, "model": "tiny", "model_hash": "ab"}
    name = many.name_of(Recipe(**words))
    assert many.name_of(Later(**words)) == name
    others = [{"mirrored": True}, {"turned": 0.5}, {"seed": 0}, {"guidance": 0.0}, {"model_hash": ""}]
    assert len({name, *(many.name_of(Later(**words | other)) for other in others)}) == 6
    assert many.name_of(Recipe(**words | {"model": "moved", "version": "9"})) == name


def test_shards_make_the_whole_and_nothing_is_made_twice(run, tiny, file, tmp_path):
    words = ("generate", "--prompts", file, "-m", tiny, "--steps", 2)
    run(*words, "-o", "all")
    assert "3 made, 0 there" in run(*words, "-o", "parts", "--shard", "1/2")[1]
    assert "2 made, 0 there" in run(*words, "-o", "parts", "--shard", "2/2")[1]
    whole = bytes_of(tmp_path / "all")
    assert bytes_of(tmp_path / "parts") == whole
    torn, lost, other = sorted(whole)[:3]
    (tmp_path / "all" / torn).write_bytes(whole[torn][:-30])
    (tmp_path / "all" / lost).unlink()
    (tmp_path / "all" / other).write_bytes(whole[lost])  # a whole picture, of another recipe
    assert "3 made, 2 there already" in run(*words, "-o", "all")[1]
    assert bytes_of(tmp_path / "all") == whole
    # Settings are part of the content: with others, all are made.
    assert "5 made" in run(*words, "-o", "all", "--enlarge", 2)[1]


def test_text_csv_and_parquet_say_the_same_as_jsonl(run, tiny, file, tmp_path):
    words = ("-m", tiny, "--steps", 2)
    run("generate", "--prompts", file, *words, "-o", "jsonl")
    names = sorted({name for row in ROWS for name in row})
    with (tmp_path / "prompts.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, names)
        table.writeheader()
        table.writerows(ROWS)
    run("generate", "--prompts", "prompts.csv", *words, "-o", "csv")
    assert bytes_of(tmp_path / "csv") == bytes_of(tmp_path / "jsonl")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: [row.get(name) for row in ROWS] for name in names}
    parquet.write_table(pyarrow.table(columns), tmp_path / "prompts.parquet")
    run("generate", "--prompts", "prompts.parquet", *words, "-o", "parquet")
    assert bytes_of(tmp_path / "parquet") == bytes_of(tmp_path / "jsonl")
    (tmp_path / "prompts.txt").write_text("a seven\n\n  a seven \n", encoding="utf-8")
    run("generate", "--prompts", "prompts.txt", *words, "-o", "text")
    assert bytes_of(tmp_path / "text").items() <= bytes_of(tmp_path / "jsonl").items()
    assert len(bytes_of(tmp_path / "text")) == 2


@pytest.mark.parametrize(
    ("content", "words", "sentence"),
    [
        ("", (), "has no prompts"),
        ('{"prompt": 3}', (), "row 1 has no text in its column 'prompt'"),
        ('{"prompt": "a", "cfg": 3}', (), "row 1 has the column 'cfg'"),
        ('{"prompt": "a"}\n{"prompt": "a", "steps": 0}', (), "row 2: steps is 0"),
        ('{"prompt": "a", "negative": 1}', (), "row 1: negative is 1"),
        ('{"prompt": "a", "width": 7}', ("-m", "emoji"), "'bad.jsonl', row 1: width is 7"),
        ("[1]", (), "line 1: give an object"),
        ("{", (), "line 1 is not JSON"),
        ("[" * 100_000, (), "line 1 is not JSON"),
        ('{"prompt": "a"}', ("--shard", "3/2"), "--shard is '3/2'"),
        ('{"prompt": "a"}', ("--shard", "half"), "--shard is 'half'"),
        ('{"prompt": "a"}', ("--count", "2"), "--count is of one prompt"),
        ('{"prompt": "a"}', ("--show-every", "2"), "--show-every looks at one picture"),
        ('{"prompt": "a"}', ("--no-metadata",), "--no-metadata leaves out"),
        ('{"prompt": "a"}', ("-o", "x.png"), "give a folder"),
        ('{"prompt": "a"}', ("-p", "b"), "--prompts and a prompt are both given"),
    ],
)
def test_faults_are_told_before_anything_is_made(run, tiny, tmp_path, content, words, sentence):
    (tmp_path / "bad.jsonl").write_text(content, encoding="utf-8")
    status, _, err = run("generate", "--prompts", "bad.jsonl", "-m", tiny, *words)
    assert status in (1, 2)
    assert sentence in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"width": 7}, "width is 7; this model makes multiples of"),
        ({"scheduler": "Oiler"}, "scheduler 'Oiler' is not known"),
        ({"prompt": "a seven <lora:ink:0.8>"}, "asks for the LoRA 'ink'"),
        ({"prompt": "a seven <lora:ink:much>"}, "<lora:ink:much>"),
        ({"negative": "(a seven:99999)"}, "99999"),
        ({"scheduler": "DPM adaptive", "steps": 1000, "guidance": 101}, "guidance is 101"),
    ],
)
def test_a_fault_of_the_last_row_is_told_by_its_place_before_the_first_picture_is_made(
    run, tmp_path, row, sentence
):
    rows = [{"prompt": "a seven"}, {"prompt": "a two"}, {"prompt": "a three"}, {"prompt": "a one", **row}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    status, _, err = run("generate", "--prompts", "rows.jsonl", "-m", "emoji", "--steps", 1)
    assert status == 2
    assert "'rows.jsonl', row 4: " in err
    assert sentence in err
    assert not (tmp_path / "outputs").exists()


def test_rows_are_read_as_other_programs_write_them(tmp_path):
    """A line separator within a JSON text, and numbers of a pandas column in which one is missing."""
    text, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    text.write_text('{"prompt": "a\u2028seven\x85", "seed": 7.0}\r\n', encoding="utf-8")
    assert requests.read(text) == [{"prompt": "a\u2028seven\x85", "seed": 7}]
    table.write_text("prompt,steps,width\na,20.0,\nb,,8.0\n", encoding="utf-8")
    assert requests.read(table) == [{"prompt": "a", "steps": 20}, {"prompt": "b", "width": 8}]
    table.write_text("prompt,seed,seed\na,1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv' has two columns 'seed'; leave one out"):
        requests.read(table)


def test_a_folder_may_have_a_dot_in_its_name_if_it_is_there(run, tiny, file, tmp_path):
    (tmp_path / "v1.5").mkdir()
    assert run("generate", "--prompts", file, "-m", tiny, "--steps", 1, "-o", "v1.5")[0] == 0
    assert len(bytes_of(tmp_path / "v1.5")) == 5


def test_a_prompt_with_a_comma_needs_quotes_in_csv(run, tiny, tmp_path):
    (tmp_path / "bad.csv").write_text('prompt\n"a seven, thin"\na seven, thin\n', encoding="utf-8")
    err = run("generate", "--prompts", "bad.csv", "-m", tiny)[2]
    assert "'bad.csv', row 2 has more values than there are columns; put a text with commas in quotes." in err


@pytest.mark.parametrize("rest", ["b\n", "b\n" * 70_000])
def test_a_quote_left_open_does_not_take_in_the_rows_after_it(run, tiny, tmp_path, rest):
    (tmp_path / "bad.csv").write_text('prompt\n"a seven\n' + rest, encoding="utf-8")
    status, _, err = run("generate", "--prompts", "bad.csv", "-m", tiny)
    assert (status, err.count("\n")) == (2, 1)
    assert "'bad.csv', line 2: " in err
    assert "close each quote" in err


def test_a_shard_without_a_file_and_a_file_of_another_kind_are_refused(run, tiny, tmp_path):
    assert "give --prompts FILE as well" in run("generate", "a seven", "-m", tiny, "--shard", "1/2")[2]
    assert "ends in .txt, .csv, .jsonl, .parquet" in run("generate", "--prompts", "a.doc", "-m", tiny)[2]
    assert "cannot read 'a.txt'" in run("generate", "--prompts", "a.txt", "-m", tiny)[2]


def test_guidance_around_the_scale_is_heeded_in_every_row(run, tiny, file, tmp_path):
    words = (
        "generate",
        "--prompts",
        file,
        "-m",
        tiny,
        "--steps",
        2,
        "--guidance-rescale",
        "0.7",
        "-o",
        "all",
        "--json",
    )
    status, out, _ = run(*words)
    assert status == 0
    paths = [tmp_path / json.loads(line)["path"] for line in out.splitlines()]
    assert {Recipe.from_png(path).guidance_rule for path in paths} == {"rescale 0.7"}
    words = ("generate", "the number two", "-n", "a seven", "--guidance", 3, "--guidance-rescale", "0.7")
    run(*words, "-m", tiny, "--steps", 2, "-s", 0, "-o", "alone.png")
    with Image.open(tmp_path / "alone.png") as alone, Image.open(paths[3]) as row:
        assert alone.tobytes() == row.tobytes()


def test_every_row_may_begin_from_one_picture(run, tiny, file, tmp_path):
    Image.new("L", (8, 8), 120).save(tmp_path / "init.png")
    begun = ("--init", "init.png", "--strength", "0.5")
    status, out, _ = run(
        "generate", "--prompts", file, "-m", tiny, "--steps", 4, *begun, "-o", "all", "--json"
    )
    assert status == 0
    recipes = [Recipe.from_png(tmp_path / json.loads(line)["path"]) for line in out.splitlines()]
    assert {recipe.variant for recipe in recipes} == {"image to image"}
