"""Colour names: clear cases, and agreement with names learned from pictures."""

import colorsys

import numpy as np
import pytest

from conceptlab.data import load_data
from conceptlab.data.colors import NAMES, color_table, lch, name_pixels


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"), ((255, 255, 255), "white"), ((128, 128, 128), "grey"),
        ((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 0, 255), "blue"),
        ((255, 255, 0), "yellow"), ((255, 140, 0), "orange"), ((255, 192, 203), "pink"),
        ((128, 0, 128), "purple"), ((101, 67, 33), "brown"), ((139, 69, 19), "brown"),
        ((0, 0, 128), "blue"), ((75, 0, 130), "purple"), ((106, 90, 205), "blue"),
        ((34, 139, 34), "green"), ((135, 206, 235), "blue"), ((255, 105, 180), "pink"),
    ],
)  # fmt: skip
def test_clear_cases(rgb, name):
    assert NAMES[int(name_pixels(np.array(rgb, np.uint8)))] == name


def test_every_cell_has_a_name_and_every_name_a_cell():
    table = color_table()
    assert table.shape == (32, 32, 32)
    assert set(np.unique(table)) == set(range(len(NAMES)))


def test_greys_are_black_grey_or_white_in_order():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    names = [NAMES[i] for i in name_pixels(ramp)]
    assert list(dict.fromkeys(names)) == ["black", "grey", "white"]


def test_lch_against_known_values():
    # sRGB red: L* 53.24, a* 80.09, b* 67.20 (Bruce Lindbloom's calculator, D65)
    lightness, chroma, hue = lch(np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert lightness == pytest.approx([53.24, 100.0], abs=0.02)
    assert chroma[0] == pytest.approx(np.hypot(80.09, 67.20), abs=0.1)
    assert hue[0] == pytest.approx(np.degrees(np.arctan2(67.20, 80.09)), abs=0.1)
    assert chroma[1] < 0.1


def test_saturated_hues_go_round_the_circle():
    wheel = [colorsys.hsv_to_rgb(h / 360, 1, 0.9) for h in range(0, 360, 5)]
    names = [NAMES[i] for i in name_pixels((np.array(wheel) * 255).astype(np.uint8))]
    seen = [n for n in dict.fromkeys(names) if n not in ("brown", "pink")]
    assert seen == ["red", "orange", "yellow", "green", "blue", "purple"]


def test_agreement_with_learned_names_on_photographs(shared_data):
    learned = np.load(shared_data / "w2color.npy")
    data = load_data(f"folder:{shared_data / 'camvid'}")
    same = total = 0
    for i in range(0, len(data), 10):
        pixels = np.asarray(data.image(i))
        cells = pixels >> 3
        other = learned[cells[..., 0], cells[..., 1], cells[..., 2]]
        same += int((other == name_pixels(pixels)).sum())
        total += other.size
    assert same / total >= 0.8
