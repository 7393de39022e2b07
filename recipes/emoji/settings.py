"""Which scheduler, steps and guidance suit the model? R@1 of 60 training rows by both judges for each.

python recipes/emoji/settings.py MODEL SET [ENCODER]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from evaluate import prompt_of, read, retrieval
from judges import lite0, own

import unnoise

STYLES = ("noto", "flat", "3d")
TRIED = (
    (None, 20, 1.0),
    (None, 20, 2.0),
    (None, 20, 3.0),
    ("Adams-Moulton 2", 20, 2.0),
    ("Adams-Moulton 2", 20, 3.0),
    ("DPM++ 2M Karras", 20, 3.0),
    ("DPM++ 2M SDE Karras", 40, 3.0),
)


def main(model: str, folder: Path, encoder: str) -> None:
    torch.set_num_threads(1)
    pipe = unnoise.load(model)
    real = read(folder, STYLES, pipe.model.shape[-1])
    chosen = np.random.default_rng(1).permutation(real.where("train"))[:60].tolist()
    judges = {
        name: (judge, judge(real.pixels)) for name, judge in (("lite0", lite0()), ("own", own(encoder)))
    }
    for scheduler, steps, guidance in TRIED:
        begun, made = time.time(), []
        for start in range(0, len(chosen), 20):
            texts = [prompt_of(real, place) for place in chosen[start : start + 20]]
            run = pipe(texts, seed=start, steps=steps, guidance=guidance, scheduler=scheduler)
            made.append(torch.from_numpy(np.stack(run.arrays)).permute(0, 3, 1, 2) * 2 - 1)
        seconds = (time.time() - begun) / len(chosen)
        found = {
            name: retrieval(judge(torch.cat(made)), chosen, real, known)
            for name, (judge, known) in judges.items()
        }
        figures = "; ".join(
            f"{name} R@1 {each['R@1']:.2f} R@5 {each['R@5']:.2f}" for name, each in found.items()
        )
        name = scheduler or "default"
        print(
            f"{name}, {steps} steps, guidance {guidance:g}: {figures}; {seconds:.2f} s a picture", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:4] or ["emoji"])
