"""A model with more words draws of every prompt what it drew before."""

import torch
from safetensors.torch import save_file

import emoji_recipe
from unnoise import checkpoints
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.networks.unet import UNet, UNetConfig
from unnoise.process import EDM
from unnoise.text import embed
from unnoise.training.words import WordVectors

reword = emoji_recipe.module("reword")
VECTORS = torch.randint(-127, 128, (6, 8), dtype=torch.int8, generator=torch.Generator().manual_seed(1))
WORDS = ("cat", "red", "zebra", "dog", "lamp", "green")


def known(tmp_path, order, learned):
    rows = VECTORS[[WORDS.index(word) for word in order]]
    path = tmp_path / f"{learned}.safetensors"
    save_file({"vectors": rows}, path, {"words": " ".join(order), "learned": str(learned)})
    return WordVectors.read(path)


def test_old_and_new_words_mean_what_they_meant_and_can_be_learned(tmp_path):
    before = known(tmp_path, WORDS[:5], 2)
    after = known(tmp_path, ("cat", "dog", "green", "red", "lamp", "zebra"), 4)
    config = TextEncoderConfig(
        vocabulary=before.tokenizer.size, width=16, layers=1, heads=2, positions=8, causal=False,
        pooling="mean", end_token=3, **before.settings(),
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = TextEncoder(config).eval()
    torch.nn.init.normal_(encoder.token_embedding.learned.weight)
    before.fill(encoder.token_embedding)
    network = UNet(UNetConfig(widths=(8,), blocks=1, attention=(1,), heads=1, norm_groups=4, text_width=16))
    old = checkpoints.Model(
        network, EDM(), (3, 8, 8), prediction="edm", text_encoder=encoder, tokenizer=before.tokenizer
    )
    new = reword.reworded(old, after)

    prompts = ["a red cat", "a dog", "a zebra lamp", "a green cat"]
    told = [embed(model.text_encoder, model.tokenizer, prompts[:3]).hidden for model in (old, new)]
    assert torch.equal(*told)
    learned = new.text_encoder.token_embedding.learned.weight
    assert len(learned) == 4 + 4
    assert new.tokenizer(prompts[3]).unknown[0] == ("a",)
