"""Sphinx settings: Markdown pages, and a reference made from the docstrings."""

from __future__ import annotations

import inspect
import re
from importlib import metadata

project = "unnoise"
author = "the unnoise authors"
copyright = author
release = metadata.version("unnoise")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"unnoise {release}"
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["page.css"]
smartquotes = False

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "special-members": "__call__"}
python_use_unqualified_type_names = True
default_role = "code"

_CODE = re.compile(r"(`[^`]+`)")


def parameters(documented):
    """A pattern for the names of parameters where the docstring explains them: "steps: how many."."""
    try:
        names = sorted(inspect.signature(documented).parameters)
    except (TypeError, ValueError):
        return None
    return re.compile(rf"(?:^|(?<=[.;,] ))({'|'.join(names)})(?=(?:, \w+)*: )") if names else None


def plain_text(_app, _what, _name, documented, _object, lines):
    """Docstrings are plain text with `code`: nothing else in them is markup.

    Indented paragraphs keep their lines (formulas); in others a deeper line just goes on.
    """
    explained = parameters(documented)
    formula, first = False, True
    for place, line in enumerate(lines):
        formula = line.startswith(" ") if first else formula
        first = not line.strip()
        parts = _CODE.split(line.strip())
        parts[::2] = [re.sub(r"([*|\\]|_\b|_$)", r"\\\1", part) for part in parts[::2]]
        if explained and not formula:
            parts[::2] = [explained.sub(r"**\1**", part) for part in parts[::2]]
        lines[place] = f"| {''.join(parts)}" if formula and not first else "".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", plain_text)
