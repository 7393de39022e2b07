"""Put a trained run's averaged model into the package, in half precision.

python recipes/digits/export.py RUN [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from unnoise import checkpoints

SHIPPED = Path(__file__).parents[2] / "src" / "unnoise" / "checkpoints" / "models" / "digits"


def main(run: str, folder: Path = SHIPPED) -> None:
    saved = checkpoints.save(checkpoints.load(Path(run)), folder, dtype=torch.float16)
    size = sum(entry.stat().st_size for entry in saved.iterdir())
    print(f"{saved}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:3]))
