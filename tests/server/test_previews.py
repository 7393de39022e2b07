import pytest
from PIL import Image

from unnoise.server import previews
from unnoise.server.previews import SHARE, Previews


class Clock:
    """A run whose steps and looks take the time that they are said to."""

    def __init__(self, look):
        self.now, self.look, self.looks = 0.0, look, 0

    def monotonic(self):
        return self.now

    def preview(self, what):
        self.now += self.look
        self.looks += 1
        return Image.new("L", (8, 8))


@pytest.mark.parametrize("look", [0.001, 0.2, 3.0])
def test_previews_take_no_more_of_a_run_than_their_share(monkeypatch, look):
    clock = Clock(look)
    monkeypatch.setattr(previews, "time", clock)
    seen = Previews(1, ("x0",), steps=200)
    shown = []
    for index in range(1, 201):
        clock.now += 1.0
        if seen.of(clock, index):
            shown.append(index)
    assert (shown[0], shown[-1]) == (1, 200)
    # each look is begun within the share, the first and the last are always
    assert clock.looks * look <= SHARE * clock.now + 3 * look
    assert clock.looks >= min(200, SHARE * 200 / look)


@pytest.mark.parametrize("every", [1, 3, 17, 1000])
def test_the_first_step_is_looked_at_however_far_the_next_look_is(every):
    clock = Clock(0.0)
    seen = Previews(every, ("x0",), steps=100)
    shown = [index for index in range(1, 101) if seen.of(clock, index)]
    assert (shown[0], shown[-1]) == (1, 100)
    assert all(index % every == 0 for index in shown[1:-1])
