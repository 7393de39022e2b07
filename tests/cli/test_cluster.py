"""`unnoise generate --prompts FILE --ray N`: workers of a cluster make what one process makes, to the bit."""

import json
import os
import subprocess
import sys

import pytest

from unnoise.cli import asking, cluster, many, parser
from unnoise.errors import InputError
from unnoise.pipelines import Recipe

ROWS = [
    {"prompt": "a seven"},
    {"prompt": "a red apple", "seed": 5, "steps": 3},
    {"prompt": "a seven"},
    {"prompt": "the number two", "negative": "a seven", "guidance": 3.0},
    {"prompt": "a red apple", "seed": 5, "steps": 3},
]

SCRIPT = """
import json, sys
import ray
from unnoise.cli import main
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
for words in json.loads(sys.argv[1]):
    assert main(words) == 0
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def packed(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    return [row for path in sorted(folder.iterdir()) for row in parquet.read_table(path).to_pylist()]


def test_two_workers_make_what_one_process_makes_and_pass_over_what_is_there(run, tiny, file, tmp_path):
    """The same files to the bit, as files and packed; a picture that two rows ask for is packed once."""
    pytest.importorskip("ray.data")
    words = ["generate", "--prompts", str(file), "-m", str(tiny), "--steps", "2"]
    run(*words, "-o", "all")
    whole = bytes_of(tmp_path / "all")
    assert len(whole) == 4
    run(*words, "-o", "parts", "--shard", "1/2")
    there = len(bytes_of(tmp_path / "parts"))
    jobs = [[*words, "--ray", "2", "-o", name] for name in ("parts", "all.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(jobs)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert there == 3
    assert bytes_of(tmp_path / "parts") == whole
    assert "1 made, 4 there already" in done.stdout
    rows = packed(tmp_path / "all.parquet")
    assert {f"{row['name']}.png": row["image"] for row in rows} == whole
    assert len(rows) == 4
    texts = {row["text"] for row in rows}
    assert texts == {"a seven", "a red apple", "the number two"}
    assert {Recipe.from_json(row["recipe"]).seed for row in rows} == {0, 1, 5}


def painted(tiny, tmp_path, known, rows=ROWS[:2]):
    arguments = parser.parse(
        ["generate", "--prompts", "x.jsonl", "-m", str(tiny), "--steps", "2", "--ray", "2", "-o", "x.parquet"]
    )
    asked = asking.request(arguments)
    jobs = [many.Job(f"'x.jsonl', row {place}", {"seed": 0, **row}) for place, row in enumerate(rows, 1)]
    painter = cluster.Painter(asked, str(tmp_path), frozenset(known), many.kinds(asked, jobs))
    return painter({"job": [json.dumps(job) for job in jobs]})


def test_a_worker_passes_over_what_is_packed_already(run, tiny, tmp_path):
    first = painted(tiny, tmp_path, ())
    assert first["made"] == [True, True]
    cluster._write(tmp_path / "some.parquet", [{name: first[name][0] for name in first}])
    known = cluster._names(tmp_path / "some.parquet")
    second = painted(tiny, tmp_path, known)
    assert second["path"] == first["path"]
    assert second["made"] == [False, True]
    assert second["image"] == [b"", first["image"][1]]


def test_a_worker_refuses_a_row_by_its_place_before_it_makes_another(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("unnoise.cli.many.picture", lambda *_: pytest.fail("a picture was made"))
    with pytest.raises(InputError, match=r"'x.jsonl', row 3: guidance is 101"):
        painted(tiny, tmp_path, (), [*ROWS[:2], {"prompt": "a two", "guidance": 101}])


def test_faults_are_told_before_a_cluster_is_asked(run, tiny, file, monkeypatch):
    words = ("generate", "--prompts", file, "-m", tiny)
    assert "--ray is 0; give" in run(*words, "--ray", "0")[2]
    assert "--ray parts the rows" in run("generate", "a seven", "-m", tiny, "--ray", "2")[2]
    assert "'x.parquet'; with --prompts give a folder" in run(*words, "-o", "x.parquet")[2]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'unnoise[ray]'" in run(*words, "--ray", "2")[2]
