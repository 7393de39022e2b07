"""The page of the flow as a notebook: its text, its Python, and what that prints.

python docs/notebook.py [FILE]
"""

import json
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "words" / "flow.md"
NOTEBOOK = DOCS.parent / "examples" / "flow.ipynb"
FENCE = re.compile(r"^```(python|text)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def cells(page: str) -> list[dict]:
    """A cell of Markdown for each stretch of text, one of code for each block of Python with the output below it."""
    found, end = [], 0
    for match in FENCE.finditer(page):
        words = page[end : match.start()].strip()
        end = match.end()
        if words:
            found.append({"cell_type": "markdown", "metadata": {}, "source": _lines(_linked(words))})
        if match[1] == "python":
            code = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
            found.append({**code, "source": _lines(match[2].rstrip())})
        else:
            output = {"output_type": "stream", "name": "stdout", "text": _lines(match[2].rstrip())}
            found[-1]["outputs"].append(output)
    rest = page[end:].strip()
    return [*found, {"cell_type": "markdown", "metadata": {}, "source": _lines(_linked(rest))}]


def _linked(words: str) -> str:
    """Links from the page's folder, made to lead from the notebook's."""
    return words.replace("](../", "](../docs/")


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def notebook() -> str:
    """The whole file."""
    made = [
        {"id": f"flow-{place}", **cell} for place, cell in enumerate(cells(PAGE.read_text(encoding="utf-8")))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK).write_text(notebook(), encoding="utf-8")
