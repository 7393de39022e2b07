"""Settings that were changed and that nothing reads in a run of this kind: told, lest anyone wait for their effect."""

from __future__ import annotations

from unnoise.training import settings
from unnoise.training.config import TrainConfig


def notes(config: TrainConfig, captioned: bool, latents: bool, held_out: bool) -> list[str]:
    """A sentence for each.

    captioned, latents, held_out: whether the run has captions, a model of latents, pictures held out.
    """
    changed = settings.differences(TrainConfig(), config)
    return [
        f"{name} is set, and does nothing here: it needs {needed}."
        for names, (read, needed) in _readers(config, captioned, latents, held_out).items()
        for name in names.split()
        if not read and any(key == name or key.startswith(f"{name}.") for key in changed)
    ]


def _readers(
    config: TrainConfig, captioned: bool, latents: bool, held_out: bool
) -> dict[str, tuple[object, str]]:
    """Settings, whether something reads them, and what would."""
    loss, data, prior = config.loss, config.data, config.prior
    return {
        "model.text model.words": (captioned, "captions"),
        "loss.caption_dropout": (captioned and not config.word.model, "captions that may be left out"),
        "loss.gamma": (loss.weight == "min_snr", "loss.weight=min_snr"),
        "loss.p2_k loss.p2_gamma": (loss.weight == "p2", "loss.weight=p2"),
        "loss.sigma_data": (loss.weight == "edm", "loss.weight=edm"),
        "loss.bound": (config.model.variance == "learned_range", "model.variance=learned_range"),
        "loss.mean loss.std": (loss.times.endswith("_normal"), "loss.times=logit_normal or log_normal"),
        "loss.shift": (loss.times != "log_normal", "another loss.times than log_normal"),
        "data.captions": (not data.caption, "data.caption to be left out"),
        "data.mirror_guard": (data.mirror, "data.mirror=true"),
        "data.fill": (data.shift or data.scale, "data.shift or data.scale"),
        "data.latents data.encoded_mb data.encoded_folder": (latents, "a model of latents"),
        "data.encoded_folder_mb": (latents and data.encoded_folder, "data.encoded_folder"),
        "optimizer.profiles": (config.optimizer.profile_every, "optimizer.profile_every"),
        "run.validate_every": (held_out or not config.run.validate_every, "data.held_out"),
        "run.sample_prompts": (config.run.sample_every, "run.sample_every"),
        "lora.rank lora.alpha lora.dora lora.targets lora.text_encoder": (config.lora.model, "lora.model"),
        "word.word word.like word.vectors": (config.word.model, "word.model"),
        "finetune.text_encoder": (config.finetune.model, "finetune.model"),
        "prior.weight": (prior.prompt, "prior.prompt"),
        "prior.count prior.steps prior.guidance": (
            prior.prompt and not prior.pictures,
            "prior.prompt, and pictures that are yet to be made",
        ),
    }
