"""Published architectures, as settings of the one UNet."""

from __future__ import annotations

from unnoise.networks.unet.config import UNetConfig


def ddpm_cifar10() -> UNetConfig:
    """The 32x32 network of "Denoising diffusion probabilistic models" (Ho et al. 2020): 35.7 M parameters."""
    return UNetConfig(
        widths=(128, 256, 256, 256),
        attention=(0, 1, 0, 0),
        dropout=0.1,
        resample="conv_same",
        norm_eps=1e-6,
        sinusoid="ddpm",
    )


def adm() -> UNetConfig:
    """The network of "Diffusion models beat GANs" (Dhariwal and Nichol 2021) for ImageNet 64x64.

    Twice the picture's channels leave it: the second half is the learned-range variance.
    """
    return UNetConfig(
        out_channels=6,
        widths=(192, 384, 576, 768),
        blocks=3,
        attention=(0, 1, 1, 1),
        head_width=64,
        scale_shift=True,
        resample="residual",
        classes=1000,
    )


def stable_diffusion_1() -> UNetConfig:
    """Stable Diffusion 1.x (Rombach et al. 2022): 859.5 M parameters, text of CLIP ViT-L/14."""
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(320, 640, 1280, 1280),
        attention=(1, 1, 1, 0),
        heads=8,
        text_width=768,
    )


def stable_diffusion_2() -> UNetConfig:
    """Stable Diffusion 2.x: heads of width 64, text of OpenCLIP ViT-H."""
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(320, 640, 1280, 1280),
        attention=(1, 1, 1, 0),
        head_width=64,
        text_width=1024,
    )


def stable_diffusion_xl() -> UNetConfig:
    """Stable Diffusion XL (Podell et al. 2023).

    `pooled` is the pooled text (1280) beside the sinusoids (256 each) of the six sizes and crop offsets.
    """
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(320, 640, 1280),
        attention=(0, 2, 10),
        mid_attention=10,
        head_width=64,
        text_width=2048,
        pooled_width=2816,
    )


def stable_diffusion_xl_refiner() -> UNetConfig:
    """The refiner of Stable Diffusion XL (Podell et al. 2023): text of OpenCLIP bigG alone.

    `pooled` is the pooled text (1280) beside the sinusoids (256 each) of size, crop offset and score.
    """
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(384, 768, 1536, 1536),
        attention=(0, 4, 4, 0),
        mid_attention=4,
        head_width=64,
        text_width=1280,
        pooled_width=2560,
    )
