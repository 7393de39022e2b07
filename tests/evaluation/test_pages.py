"""Charts and pages of what was measured."""

import re

import pytest

from chromium import Chromium
from unnoise.evaluation.report.chart import Point, Series, axis, chart
from unnoise.evaluation.report.page import page, table


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values", [(0.73, 1.02), (0.0061, 0.0075), (3.1, 27.0), (0.7, 0.7), (4.0, 41.0), (1e-4, 2.0)]
)
def test_an_axis_marks_enough_round_values_to_read_others_by(values, log):
    across = axis("loss", values, log)
    marks = [mark for mark in across.ticks() if across.low <= mark <= across.high]
    assert 2 <= len(marks) <= 9
    assert len({f"{mark:.4g}" for mark in marks}) == len(marks)


@pytest.mark.parametrize("log", [False, True])
def test_what_is_drawn_fills_its_axis(log):
    across = axis("loss", (0.73, 1.02), log)
    assert across.part(0.73) == pytest.approx(0.05, abs=0.01)
    assert across.part(1.02) == pytest.approx(0.95, abs=0.01)


def test_bars_of_several_names_at_one_place_stand_side_by_side():
    names = [Series(name, (Point(5, 0.1, name, 0.0, 0.2),), "#123456") for name in "abc"]
    drawn = chart(names, axis("calls", (5, 10), True), axis("distance", (0.0, 0.2), False))
    bars = re.findall(
        r'<line x1="([\d.]+)" x2="[\d.]+" y1="[\d.]+" y2="[\d.]+" stroke="#123456" stroke-opacity=".45"',
        drawn,
    )
    assert len(set(bars)) == 3


def test_a_wide_table_is_not_cut_off_on_paper(tmp_path):
    wide = table([f"column {place}" for place in range(30)], [("", ["0.123456789"] * 30)])
    (tmp_path / "wide.html").write_text(page("wide", f'<div class="card">{wide}</div>'))
    with Chromium(tmp_path / "browser") as browser:
        browser.open((tmp_path / "wide.html").as_uri())
        hidden = (
            "(card => card.scrollWidth > card.clientWidth && getComputedStyle(card).overflowX !== 'visible')"
        )
        look = f"{hidden}(document.querySelector('.card'))"
        browser.look(700, 900)
        assert browser.run(look)
        browser.send("Emulation.setEmulatedMedia", media="print")
        assert not browser.run(look)
