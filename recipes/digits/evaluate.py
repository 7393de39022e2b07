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

import unnoise


def reader() -> tuple[SVC, float]:
    """The classifier trained on all real digits, and the accuracy on 360 held out from a twin of it."""
    digits = load_digits()
    seen, unseen, names, truth = train_test_split(
        digits.data, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    twin = SVC(gamma=0.001).fit(seen, names)
    return SVC(gamma=0.001).fit(digits.data, digits.target), float(twin.score(unseen, truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--scheduler")
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    asked = np.repeat(np.arange(10), 50)
    words = [prompts(digit)[place % len(prompts(digit))] for place, digit in enumerate(asked)]
    pipe = unnoise.load(options.model)
    result = pipe(
        words,
        steps=options.steps,
        guidance=options.guidance,
        scheduler=options.scheduler,
        seeds=[options.seed + place for place in range(len(words))],
    )
    pixels = np.stack([array.reshape(64) * 16.0 for array in result.arrays]).round()
    classifier, real = reader()
    read = classifier.predict(pixels)
    report = {
        "agreement": float((read == asked).mean()),
        "each": {str(digit): float((read[asked == digit] == digit).mean()) for digit in range(10)},
        "reader_on_real_digits": real,
        "pictures": len(words),
        "spread": float(np.mean([pixels[asked == digit].std(0).mean() for digit in range(10)])),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
