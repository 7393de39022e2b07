"""Sphinx settings: Markdown pages, and a reference made from the docstrings."""

from __future__ import annotations

import re
from importlib.metadata import version

project = "unnoise"
author = "the unnoise authors"
copyright = author
release = version("unnoise")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"unnoise {release}"
html_show_copyright = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
python_use_unqualified_type_names = True
default_role = "code"

_CODE = re.compile(r"(`[^`]+`)")


def plain_text(_app, _what, _name, _object, _options, lines):
    """Docstrings are plain text with `code`: nothing else in them is markup."""
    for place, line in enumerate(lines):
        parts = _CODE.split(line)
        parts[::2] = [re.sub(r"([*|\\]|_\b|_$)", r"\\\1", part) for part in parts[::2]]
        parts[1::2] = [f"`{part}`" for part in parts[1::2]]
        lines[place] = "".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", plain_text)
