"""The sheet of the model card: the first 64 prompts of the fixed list, seeds 0 to 63, none selected.

python recipes/emoji/sheet.py MODEL FILE.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from evaluate import draw, sheet
from prompts import SHEET

import unnoise


def main(model: str, path: Path) -> None:
    pictures = draw(unnoise.load(model), SHEET[:64], 0, None, None, None)
    sheet(pictures, SHEET[:64], path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
