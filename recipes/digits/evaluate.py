"""Does a reader agree? A classifier trained on real digits reads 500 generated ones.

    python recipes/digits/evaluate.py RUN_OR_MODEL [--steps 20] [--guidance 2] [--scheduler NAME]

The classifier (a support vector machine) first says how well it reads real digits that it has not seen.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from make_data import prompts
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from sklearn.utils import Bunch

import unnoise


def reader(digits: Bunch) -> tuple[SVC, float]:
    """The classifier trained on all real digits, and the accuracy on 360 held out from a twin of it."""
    seen, unseen, names, truth = train_test_split(
        digits.data, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    twin = SVC(gamma=0.001).fit(seen, names)
    return SVC(gamma=0.001).fit(digits.data, digits.target), float(twin.score(unseen, truth))


def spread(pixels: np.ndarray, labels: np.ndarray) -> float:
    """Mean standard deviation of a pixel (0 to 16) among pictures of one digit: low when they are all alike."""
    return float(np.mean([pixels[labels == digit].std(0).mean() for digit in range(10)]))


def nearest(pixels: np.ndarray, real: np.ndarray, place: int) -> float:
    """Median distance to the nearest real digit (`place` 1 passes over the picture itself): 0 for copies."""
    squares = (pixels**2).sum(1)[:, None] + (real**2).sum(1)[None] - 2 * pixels @ real.T
    return float(np.median(np.sqrt(np.partition(squares.clip(0), place, axis=1)[:, place])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--scheduler")
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    pipe = unnoise.load(options.model)
    asked = np.repeat(np.arange(10), 50)
    drawn = [
        pipe(
            [prompts(digit)[place % len(prompts(digit))] for place in range(50)],
            steps=options.steps,
            guidance=options.guidance,
            scheduler=options.scheduler,
            seed=options.seed + 50 * digit,
        )
        for digit in range(10)
    ]
    pixels = np.stack([array.reshape(64) * 16.0 for result in drawn for array in result.arrays])
    digits = load_digits()
    classifier, real = reader(digits)
    read = classifier.predict(pixels)
    report = {
        "agreement": float((read == asked).mean()),
        "each": {str(digit): float((read[asked == digit] == digit).mean()) for digit in range(10)},
        "reader_on_real_digits": real,
        "pictures": len(asked),
        "spread": spread(pixels, asked),
        "spread_of_real_digits": spread(digits.data, digits.target),
        "distance_to_nearest_real": nearest(pixels, digits.data, 0),
        "distance_between_real": nearest(digits.data, digits.data, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
