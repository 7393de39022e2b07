"""A tiny model whose pictures are latents of an autoencoder with random weights."""

import torch

from tiny_model import tiny_model, tokenizer
from unnoise import checkpoints
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig


def latent_model(**changes):
    torch.manual_seed(0)
    autoencoder = AutoEncoder(AutoEncoderConfig(widths=(32, 32), blocks=1, norm_groups=4)).eval()
    model = tiny_model(channels=4)
    options = {name: getattr(model, name) for name in ("network", "schedule", "shape", "prediction")}
    return checkpoints.Model(
        **options,
        text_encoder=model.text_encoder,
        tokenizer=tokenizer(),
        autoencoder=autoencoder.requires_grad_(False),
        defaults=model.defaults,
        **changes,
    )
