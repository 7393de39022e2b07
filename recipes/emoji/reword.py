"""A trained model with more words: all it knows stays, and the words of new captions can be learned.

    python recipes/emoji/reword.py MODEL WORDS FOLDER

WORDS is a file that `make_words.py --like` made of the one that the model learned with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.networks.text_encoder import TextEncoder, WordEmbedding
from unnoise.text import WordTokenizer
from unnoise.text.special import SPECIAL
from unnoise.training.words import WordVectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    print(
        checkpoints.save(
            reworded(checkpoints.load(options.model), WordVectors.read(options.words)), options.folder
        )
    )


@torch.no_grad()
def reworded(model: Model, words: WordVectors) -> Model:
    """The model with these words; it draws of every prompt what it drew before."""
    old, tokenizer = model.text_encoder, model.tokenizer
    assert isinstance(old, TextEncoder)
    assert isinstance(tokenizer, WordTokenizer)
    encoder = TextEncoder(replace(old.config, vocabulary=words.tokenizer.size, **words.settings()))
    before, after = old.token_embedding, encoder.token_embedding
    assert isinstance(before, WordEmbedding)
    assert isinstance(after, WordEmbedding)
    learned = before.learned.weight
    new = learned[WordEmbedding.UNKNOWN].repeat(
        words.learned + SPECIAL, 1
    )  # which unseen words had until now
    new[:SPECIAL] = learned[:SPECIAL]
    places = {word: place for place, word in enumerate(tokenizer.words[: len(learned) - SPECIAL], SPECIAL)}
    for place, word in enumerate(words.tokenizer.words[: words.learned], SPECIAL):
        if word in places:
            new[place] = learned[places[word]]
    weights = old.state_dict() | {"token_embedding.learned.weight": new}
    weights["token_embedding.vectors"] = after.vectors
    encoder.load_state_dict(weights)
    words.fill(after)
    return replace(model, text_encoder=encoder.eval(), tokenizer=words.tokenizer)


if __name__ == "__main__":
    main()
