"""Write scikit-learn's handwritten digits as a folder of PNGs with captions.

    python recipes/digits/make_data.py build/digits

1,797 pictures of 8x8 with 17 grey levels (Alpaydin and Kaynak 1998; UCI, CC BY 4.0), each beside a .txt with
the ways in which a person might ask for it, one a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def prompts(digit: int) -> list[str]:
    """Ways to ask for a digit; the first is the plainest."""
    word = WORDS[digit]
    article = "an" if word == "eight" else "a"
    return [
        f"a handwritten {word}",
        f"{article} {word}",
        word,
        str(digit),
        f"{article} {digit}",
        f"the digit {digit}",
        f"the number {word}",
        f"a handwritten {digit}",
    ]


def main(folder: Path) -> None:
    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    for number, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        grey = np.rint(values * 255 / 16).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{number:04d}.png")
        (folder / f"{number:04d}.txt").write_text("\n".join(prompts(int(label))) + "\n", encoding="utf-8")
    print(f"{len(digits.images)} pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/digits"))
