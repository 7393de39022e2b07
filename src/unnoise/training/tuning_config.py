"""What is learned of a model that is there already: a LoRA beside it, a word for it, or all of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unnoise.errors import InputError
from unnoise.limits import Amount, Count, as_declared, choice

SORTS = ("attention", "feed-forward", "projections", "convolutions")
AUTO = "auto"


@dataclass(frozen=True)
class LoraConfig:
    """A LoRA: small matrices learned beside a model that stays as it is. Off while `model` is "".

    model: one of unnoise's own, by shipped name, folder or run, or a Stable Diffusion checkpoint; its network, words,
    schedule and prediction hold, and the table of the model stays at its defaults (but for `size` with Stable
    Diffusion). rank: inner dimension of the matrices. alpha: they count alpha / rank; 0 takes the rank. dora: learn
    the magnitude of every output too (Liu et al. 2024). targets: sorts of layers that get them: "attention",
    "feed-forward", "projections" (into and out of the attention blocks), "convolutions"; "auto" is all of them in a
    model of ours, all but the convolutions in Stable Diffusion. text_encoder: whether the text encoders' layers do too.
    """

    model: str = ""
    rank: Annotated[int, (1, 4096)] = 8
    alpha: Amount = 0.0
    dora: bool = False
    targets: tuple[str, ...] = (AUTO,)
    text_encoder: bool = False

    def __post_init__(self) -> None:
        as_declared(self, "lora.")
        for target in self.targets or ("",):
            choice("lora.targets", target, (*SORTS, AUTO))
        if AUTO in self.targets and len(self.targets) > 1:
            raise InputError(
                f"lora.targets is {', '.join(self.targets)}; give auto alone, or sorts of layers."
            )


@dataclass(frozen=True)
class WordConfig:
    """A new word for a Stable Diffusion model, which stays as it is (textual inversion). Off while `model` is "".

    word: as it will stand in prompts, such as "<toy>". like: a word that the model knows, whose vectors it begins with.
    vectors: tokens that the word is worth.
    """

    model: str = ""
    word: str = ""
    like: str = ""
    vectors: Annotated[int, (1, 75)] = 1

    def __post_init__(self) -> None:
        as_declared(self, "word.")
        if self.model and not (self.word.strip() and self.like.strip()):
            missing = "word" if not self.word.strip() else "like"
            raise InputError(
                f"word.{missing} is empty; give the new word and one that the model knows, for example "
                'word.word="<toy>" and word.like="toy".'
            )


@dataclass(frozen=True)
class FinetuneConfig:
    """All weights of a model learn on, of a copy of it. Off while `model` is "".

    model: as in `LoraConfig`. text_encoder: whether the text encoders learn too.
    """

    model: str = ""
    text_encoder: bool = False

    def __post_init__(self) -> None:
        as_declared(self, "finetune.")


@dataclass(frozen=True)
class PriorConfig:
    """Pictures of the class beside those of the thing, so that it is not forgotten (DreamBooth, Ruiz et al. 2023).

    Off while `prompt` is "". Every other picture of a batch then is one of the class, with the caption `prompt`.
    pictures: a folder of such; "" makes `count` of them before the first step, in RUN/class, with the model as it was.
    weight: of their loss, in a mean over the whole batch. steps, guidance: of the pictures that are made; 0 takes the
    model's own.
    """

    prompt: str = ""
    pictures: str = ""
    count: Count = 100
    weight: Amount = 1.0
    steps: Annotated[int, (0, 1000)] = 0
    guidance: Annotated[float, (0, 100)] = 0.0

    def __post_init__(self) -> None:
        as_declared(self, "prior.")
        if self.pictures and not self.prompt:
            raise InputError(
                "prior.pictures is given without prior.prompt; say what they show, for example prior.prompt='a dog'."
            )
