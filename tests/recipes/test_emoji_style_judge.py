"""The judge of styles tells how a thing is drawn, whatever it is, and leaves the program's own draws alone."""

import torch

import emoji_recipe

judge = emoji_recipe.module("style_judge")
STYLES = ("plain", "striped")


def drawn(count, seed):
    """Rectangles of any colour, size and place on white; of one style filled evenly, of the other striped."""
    source = torch.Generator().manual_seed(seed)
    pixels, styles = torch.ones(count, 3, 16, 16), []
    for number in range(count):
        top, left = torch.randint(0, 5, (2,), generator=source).tolist()
        height, width = torch.randint(8, 12, (2,), generator=source).tolist()
        colour = torch.rand(3, 1, 1, generator=source) * 1.6 - 1.0
        pixels[number, :, top : top + height, left : left + width] = colour
        styles.append(STYLES[number % 2])
        if styles[-1] == "striped":
            pixels[number, :, top : top + height : 2] *= -1.0
    return pixels, styles


def test_styles_of_things_that_it_never_saw():
    pixels, styles = drawn(96, 0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = judge.learned(pixels, styles, range(64))
    assert torch.equal(torch.rand(3), expected)
    held, right = pixels[64:], styles[64:]
    wrong = [STYLES[1 - STYLES.index(style)] for style in right]
    assert found.right(held, right) >= 0.9
    assert found.right(held, wrong) == 1.0 - found.right(held, right)
