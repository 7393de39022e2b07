"""Merged tokens: who is merged with whom, what that must leave unchanged, and that networks are shared untouched."""

import pytest
import torch

from tiny_model import tiny_model
from unnoise.networks.unet import Merging, attention, with_merging
from unnoise.networks.unet.attention import SelfAttention, attend, in_blocks
from unnoise.networks.unet.merging import Homes, MergedAttention, merge, unmerge, windows
from unnoise.randomness import normal

SIZES = [(4, 4), (5, 7), (1, 5), (6, 1), (1, 1)]


def layer(width=16, heads=2):
    made = SelfAttention(width, heads, bias=False).requires_grad_(False)
    for place, weight in enumerate(made.parameters()):
        weight.copy_(0.35 * normal(0, "layer", place, shape=weight.shape))
    return made


def tokens(height, width, batch=1, channels=16):
    return normal(3, "tokens", height, width, shape=(batch, height * width, channels))


@pytest.mark.parametrize("size", SIZES)
def test_one_token_of_each_window_is_kept(size):
    height, width = size
    kept, others = windows(*size, look=2)
    window = {(int(place) // width // 2, int(place) % width // 2) for place in kept}
    assert len(window) == len(kept) == -(-height // 2) * -(-width // 2)
    assert sorted([*kept.tolist(), *others.tolist()]) == list(range(height * width))


def test_which_is_kept_changes_from_look_to_look_and_with_nothing_else():
    first = windows(16, 16, look=0)[0]
    assert torch.equal(first, windows(16, 16, look=0)[0])
    assert not torch.equal(first, windows(16, 16, look=1)[0])
    corners = {(int(place) // 16 % 2, int(place) % 2) for place in first}
    assert len(corners) == 4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_tokens_are_conserved(size, share):
    x = tokens(*size, batch=2)
    homes = Merging(share, size=size).homes(x)
    gone = min(int(share * x.shape[1]), len(windows(*size, 0)[1]))
    if not gone:
        assert homes is None
        return
    few, many = merge(x, homes)
    assert few.shape == (2, x.shape[1] - gone, 16)
    assert (many >= 1).all()
    assert many.sum(dim=1).tolist() == [x.shape[1]] * 2
    torch.testing.assert_close((few * many[..., None]).sum(dim=1), x.sum(dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(merge(unmerge(few, homes), homes)[0], few, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_best_matches_are_merged_each_into_its_nearest(dtype):
    """By hand: cosines in double precision. The others lie so near to theirs that bfloat16 cannot rank them."""
    kept, others = windows(4, 6, look=1)
    x = torch.zeros(1, 24, 32)
    x[0, kept] = torch.eye(32)[: len(kept)] * torch.linspace(1, 3, len(kept))[:, None]
    matches = torch.arange(len(others)) * 5 % len(kept)
    near = torch.eye(32)[matches]
    near[torch.arange(len(others)), 31] = 0.02 + 0.03 * normal(0, "near", shape=(len(others),)).abs()
    x[0, others] = near
    x = x.to(dtype)
    exact = torch.nn.functional.normalize(x[0].double(), dim=-1)
    alike = (exact[others] * exact[kept[matches]]).sum(dim=-1)
    assert alike.min() > 0.99
    best = alike.argsort(descending=True)[:8]
    homes = Merging(1 / 3, look=1, size=(4, 6)).homes(x)
    assert homes.left == 16
    assert torch.equal(homes.of[0, kept], torch.arange(len(kept)))
    assert torch.equal(homes.of[0, others[best]], matches[best])
    alone = torch.tensor([place for place in others.tolist() if place not in others[best].tolist()])
    assert sorted(homes.of[0, alone].tolist()) == list(range(len(kept), 16))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.75])
def test_merging_equal_tokens_changes_nothing(share):
    """exp(q k + log s) = s exp(q k): a token that stands for s equal ones has their weight in the softmax."""
    coarse = normal(1, "coarse", shape=(2, 16, 3, 4))
    x = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3).flatten(2).transpose(1, 2)
    plain = layer()
    merged = MergedAttention(plain, Merging(share, size=(6, 8)))
    torch.testing.assert_close(merged(x), plain(x), rtol=0, atol=5e-6)
    few, many = merge(x, merged.work.homes(x))
    if share == 0.5:
        assert many.unique().numel() > 1
        uncounted = unmerge(plain(few), merged.work.homes(x))
        assert (uncounted - plain(x)).abs().max() > 1e-3


def test_tokens_that_are_all_alike_stay_so():
    x = normal(2, "one", shape=(1, 1, 16)).expand(1, 35, 16)
    plain = layer()
    torch.testing.assert_close(
        MergedAttention(plain, Merging(0.75, size=(5, 7)))(x), plain(x), rtol=0, atol=5e-6
    )


def test_few_merged_tokens_of_many_change_the_answer_little_and_more_change_it_more():
    smooth = torch.nn.functional.interpolate(
        normal(4, "rough", shape=(1, 16, 3, 3)), scale_factor=4.0, mode="bicubic"
    )
    x, plain = smooth.flatten(2).transpose(1, 2), layer()
    exact = plain(x)
    errors = [
        float((MergedAttention(plain, Merging(share, size=(12, 12)))(x) - exact).norm() / exact.norm())
        for share in (0.1, 0.4, 0.75)
    ]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_who_is_merged_does_not_depend_on_the_batch(dtype):
    x = tokens(8, 10, batch=5).to(dtype)
    work = Merging(0.5, look=4, size=(8, 10))
    together = work.homes(x)
    for place, row in enumerate(x):
        alone = work.homes(row[None])
        assert torch.equal(alone.of[0], together.of[place])
        assert all(
            torch.equal(a[0], b[place])
            for a, b in zip(merge(row[None], alone), merge(x, together), strict=True)
        )


def test_homes_lie_apart_for_every_row():
    homes = Homes(torch.tensor([[0, 1, 1], [1, 0, 0]]), 2)
    few, many = merge(torch.tensor([[[1.0], [2.0], [4.0]], [[8.0], [16.0], [32.0]]]), homes)
    assert few.flatten().tolist() == [1.0, 3.0, 24.0, 8.0]
    assert many.flatten().tolist() == [1.0, 2.0, 2.0, 1.0]
    assert unmerge(few, homes).flatten().tolist() == [1.0, 3.0, 3.0, 8.0, 24.0, 24.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_as_a_mask_are_added_to_the_scores(dtype):
    """On each route: torch's kernel, batched products (bfloat16, few scores) and blocks."""
    q, k, v = (normal(5, "qkv", place, shape=(2, 2, 80, 8)) for place in range(3))
    bias = normal(6, "bias", shape=(2, 1, 1, 80))
    exact = ((q @ k.mT / 8**0.5 + bias).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    given = [one.to(dtype) for one in (q, k, v, bias)]
    assert attention.batched_is_faster(*given[:2]) is (dtype == torch.bfloat16)
    slack = 2e-6 if dtype == torch.float32 else 0.05
    with torch.inference_mode():
        for made in (attend(*given), in_blocks(*given, scores=1000)):
            torch.testing.assert_close(made.float(), exact, rtol=0, atol=slack)


def merged_layers(network):
    return [module for module in network.modules() if isinstance(module, MergedAttention)]


@pytest.mark.parametrize("text", [True, False])
def test_the_finest_level_alone_is_merged_and_the_network_stays_as_it_is(text):
    network = tiny_model(text=text).network
    before = [name for name, _ in network.named_modules()]
    made = with_merging(network, Merging(0.5))
    assert len(merged_layers(made)) == 3  # one on the way down, two on the way up; not the middle
    assert [name for name, _ in network.named_modules()] == before
    assert {id(weight) for weight in made.parameters()} == {id(weight) for weight in network.parameters()}
    memory = network.remember(normal(0, "text", shape=(2, 5, 16))) if text else None
    given = normal(0, "x", shape=(2, 1, 8, 8)), torch.full((2,), 0.4), memory
    exact = network(*given).sample
    assert not torch.equal(made(*given).sample, exact)
    assert torch.equal(with_merging(network, Merging(0.0))(*given).sample, exact)


@pytest.mark.parametrize(("least", "merges"), [(16, True), (17, False)])
def test_every_level_with_so_many_tokens_is_merged(least, merges):
    network = tiny_model(text=False).network
    made = with_merging(network, Merging(0.5, least))
    assert len(merged_layers(made)) == 4  # the middle too, whose map has 16 tokens as well
    given = normal(0, "x", shape=(1, 1, 8, 8)), 0.4
    assert torch.equal(made(*given).sample, network(*given).sample) is not merges


def test_maps_in_either_memory_order_merge_alike():
    network = with_merging(tiny_model(text=False).network, Merging(0.5))
    x = normal(0, "x", shape=(2, 1, 10, 14))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(network(x, 0.4).sample, network(last, 0.4).sample)
