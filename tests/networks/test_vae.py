"""The autoencoder lets go of what it has read: the memory of a decoding is that of its largest layer."""

import weakref

import torch

from pretended_gpu import pretended_gpu
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig

CONFIG = AutoEncoderConfig(widths=(8, 16), blocks=2, norm_groups=4)


def held(half, given):
    """For each layer but the first, how many maps of layers before the last one are still there when it begins."""
    made, counts = [], []
    layers = [layer for level in half for layer in level.layers()]
    for layer in layers:
        layer.register_forward_pre_hook(
            lambda module, arguments: counts.append(sum(each() is not None for each in made[:-1]))
        )
        layer.register_forward_hook(lambda module, arguments, out: made.append(weakref.ref(out)))
    given()
    assert len(made) == len(layers)
    return counts


@torch.no_grad()
def test_layers_hold_one_map_at_a_time():
    torch.manual_seed(0)
    autoencoder = AutoEncoder(CONFIG).eval()
    latents, pictures = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 16, 16)
    assert not any(held(autoencoder.decoder.up_blocks, lambda: autoencoder.decode(latents)))
    assert not any(held(autoencoder.encoder.down_blocks, lambda: autoencoder.encode(pictures)))


@torch.no_grad()
def test_a_residual_lets_go_of_its_first_convolution_before_its_second():
    autoencoder = AutoEncoder(CONFIG).eval()
    residual, made, alive = autoencoder.decoder.mid_block.residual1, [], []
    residual.conv1.register_forward_hook(lambda module, arguments, out: made.append(weakref.ref(out)))
    residual.conv2.register_forward_pre_hook(lambda module, arguments: alive.append(made[0]() is not None))
    residual(torch.randn(1, 16, 8, 8))
    assert alive == [False]


@torch.no_grad()
def test_memory_is_in_the_order_of_the_device_and_the_numbers_are_the_same():
    """Channels last on the processor, rows on a card; there and back nothing changes."""
    torch.manual_seed(0)
    autoencoder = AutoEncoder(CONFIG).eval()
    latents, pictures = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 16, 16)
    expected = autoencoder.decode(latents), autoencoder.encode(pictures).mean
    kernel, before = autoencoder.decoder.conv_out, autoencoder.decoder.conv_out.weight.clone()
    assert kernel.weight.is_contiguous(memory_format=torch.channels_last)
    with pretended_gpu() as device:
        autoencoder.to(device)
        assert kernel.weight.is_contiguous()
        orders = []
        autoencoder.decoder.conv_out.register_forward_pre_hook(
            lambda module, arguments: orders.append(arguments[0].is_contiguous())
        )
        found = autoencoder.decode(latents.to(device)), autoencoder.encode(pictures.to(device)).mean
        assert orders == [True]
        found = [one.cpu() for one in found]
        autoencoder.to("cpu")
    assert kernel.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(kernel.weight, before)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
