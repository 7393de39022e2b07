"""The pages say what the code does: their Python runs, prints what they show, and their commands parse.

The ```python blocks of a page run in order in one namespace, in an empty folder. A ```text block straight after
one is what it prints.
"""

import contextlib
import io
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniature_sd

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def blocks(page):
    """(language, first line number, text, whether nothing but space stands before it and the last block)."""
    text, end = page.read_text(encoding="utf-8"), 0
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        yield match[1], line, match[2], not text[end : match.start()].strip()
        end = match.end()


def name(page):
    return str(page.relative_to(ROOT))


RUNNING = [page for page in PAGES if any(language == "python" for language, *_ in blocks(page))]


@pytest.mark.no_cover
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_python_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, printed = {"__name__": "page"}, ""
    for language, line, text, follows in blocks(page):
        if language == "python":
            # Blank lines in front, so that a traceback names the page's own line.
            code = compile("\n" * (line - 1) + text, name(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
        elif language == "text" and follows:
            shown = [row.rstrip() for row in text.strip().splitlines()]
            assert [row.rstrip() for row in printed.strip().splitlines()] == shown, f"{name(page)}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_a_page_parse(page):
    from unnoise.cli.parser import parse

    for language, _, text, _ in blocks(page):
        if language != "console":
            continue
        for command in re.findall(r"^\$ unnoise (.+)$", text.replace("\\\n", " "), re.MULTILINE):
            parse(shlex.split(command, comments=True))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_to_files(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


def test_the_notebook_is_the_page_of_the_flow():
    made = runpy.run_path(str(ROOT / "docs" / "notebook.py"))
    assert (ROOT / "examples" / "flow.ipynb").read_text(encoding="utf-8") == made["notebook"](), (
        "write it again: python docs/notebook.py"
    )
    code = [
        cell
        for cell in made["cells"](made["PAGE"].read_text(encoding="utf-8"))
        if cell["cell_type"] == "code"
    ]
    assert ["".join(cell["source"]) for cell in code] == [
        text.rstrip() for language, _, text, _ in blocks(made["PAGE"]) if language == "python"
    ]


@pytest.mark.no_cover
def test_the_walk_of_the_flow_ends_in_the_pipeline_s_picture_for_sdxl_too(tmp_path, monkeypatch):
    """As the page says: with another checkpoint's name everything below stays as it is."""
    folder = miniature_sd.save(miniature_sd.pipeline("sdxl", tmp_path / "tokens"), tmp_path / "sdxl")
    monkeypatch.chdir(tmp_path)
    python = [text for language, _, text, _ in blocks(ROOT / "docs/words/flow.md") if language == "python"]
    named = next(place for place, text in enumerate(python) if text.startswith("checkpoint, size = "))
    namespace = {"__name__": "page"}
    for text in (python[0], *python[named:]):
        exec(text.replace("miniature.safetensors", folder.name), namespace)


@pytest.mark.no_cover
def test_pictures_on_the_pages_are_what_the_shipped_model_makes(tmp_path):
    shown = ROOT / "docs" / "images"
    runpy.run_path(str(shown / "make.py"))["main"](tmp_path)
    for made in tmp_path.iterdir():
        with Image.open(made) as new, Image.open(shown / made.name) as old:
            difference = np.abs(np.asarray(new, dtype=int) - np.asarray(old, dtype=int))
        # Twenty steps in float32 may end a shade apart on another processor, not in another digit.
        assert difference.mean() < 1.0, made.name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name
        for path in shown.glob("*.png")
        if not path.name.startswith("page")  # a browser's, by page.py
    )
