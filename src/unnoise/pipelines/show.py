"""A picture where the person is: inline in a notebook, as half blocks in a terminal."""

from __future__ import annotations

import math
import sys
from typing import Any

from PIL import Image

from unnoise import images


def show(picture: Image.Image, title: str) -> None:
    """Display the picture under its title, in the notebook this runs in, else on standard output."""
    notebook = _notebook()
    if notebook is None:
        colours = images.terminal_colours(sys.stdout)
        sys.stdout.write(f"{title}\n{images.terminal_text(picture, colours)}\n")
        sys.stdout.flush()
    else:
        notebook(title)
        notebook(images.enlarge(picture, max(1, math.ceil(128 / picture.width))))


def _notebook() -> Any:  # noqa: ANN401 - IPython's own function, or None
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display
