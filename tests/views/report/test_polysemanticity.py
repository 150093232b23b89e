"""The page of polysemanticity: ranked, sortable, whole, and as a browser shows it."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptlab.analysis.units.polysemanticity import Polysemanticity
from conceptlab.views.report.polysemanticity import (
    PIXELS,
    polysemanticity_of,
    polysemanticity_page,
    write_exemplars,
)
from tests.conftest import ToyData, catalogue_of
from tests.views.browser import BROWSER, said_by
from tests.views.conftest import HOSTILE

DRIVER = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("table.minds");
  const heads = [...table.tHead.rows[0].cells];
  const units = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const said = {heads: heads.map((head) => head.textContent), first: units()};
  heads[1].firstElementChild.click();
  said.many = units();
  heads[1].firstElementChild.click();
  said.single = units();
  heads[5].firstElementChild.click();
  said.names = units();
  const pictures = [...document.images];
  said.broken = pictures.filter((picture) => picture.loading !== "lazy" && !picture.naturalWidth).length;
  said.pictures = pictures.length;
  said.rows = [...document.querySelectorAll(".kind")].length;
  const tops = new Set([...table.querySelector(".seen").children].map((x) => x.getBoundingClientRect().top));
  said.lines = tops.size;
  said.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  said.wide = document.documentElement.scrollWidth > innerWidth;
  const place = document.createElement("pre");
  place.id = "said";
  place.textContent = JSON.stringify(said);
  document.body.append(place);
});
</script>
"""  # noqa: E501
UNITS = pd.DataFrame(
    {
        "unit": [0, 1, 2, 3, 4], "exemplars": [40, 40, 40, 0, 40], "clusters": [3, 1, 2, 0, 1],
        "similarity": [0.2, 0.5, 0.3, np.nan, 0.7], "largest": [0.5, 1.0, 0.75, np.nan, 1.0],
        "p_value": [0.005, 0.4, 0.01, np.nan, 0.9], "packed": [3, 1, 2, 0, 1],
        "names": ["tree, sky, car", "sky", f"red, {HOSTILE}", "", "building"],
    }
)  # fmt: skip
SIZES = {0: (20, 12, 8), 1: (40,), 2: (30, 10), 4: (40,)}


@pytest.fixture
def found():
    """Polysemanticity made by hand, over a data set of 40 pictures."""
    rows = []
    for unit, sizes in SIZES.items():
        clusters = np.repeat(np.arange(len(sizes)), sizes)
        rows += [
            {"unit": unit, "rank": rank + 1, "image": f"train/{rank:05d}", "row": rank, "y": 1,
             "x": 2, "value": 9.0 - rank / 10, "cluster": cluster}
            for rank, cluster in enumerate(clusters)
        ]  # fmt: skip
    return Polysemanticity(UNITS, pd.DataFrame(rows))


@pytest.fixture
def layer(store_activations):
    data = ToyData(np.zeros((40, 1, 8, 8)), ["train"] * 40, catalogue_of(("a", "object")))
    return store_activations(np.zeros((40, 5, 4, 4)), data), data


@pytest.fixture
def pictures(tmp_path):
    """Four images of each of three units, as files."""
    rows = []
    for unit in (0, 2, 4):
        for number in range(4):
            name = f"unit{unit}-{number}.png"
            Image.new("RGB", (16, 16), (unit * 40, number * 60, 99)).save(tmp_path / name)
            rows.append({"unit": unit, "picture": name})
    return pd.DataFrame(rows)


@pytest.fixture
def page(found, layer, pictures, tmp_path):
    members = write_exemplars(found, *layer, tmp_path / "patches", each=5)
    members["picture"] = "patches/" + members["picture"]
    return polysemanticity_page(tmp_path / "units.html", found.units, members, pictures)


def test_patches_are_the_strongest_of_each_kind(found, layer, tmp_path):
    members = write_exemplars(found, *layer, tmp_path / "patches", each=5)
    assert len(members) == 5 * sum(len(sizes) for sizes in SIZES.values())
    own = members[members["unit"] == 0]
    assert own["rank"].tolist() == [*range(1, 6), *range(21, 26), *range(33, 38)]
    assert own["share"].tolist() == [0.5] * 5 + [0.3] * 5 + [0.2] * 5
    assert len(list((tmp_path / "patches").iterdir())) == len(members)
    for row in members.itertuples():
        with Image.open(tmp_path / "patches" / row.picture) as picture:
            assert picture.size == (PIXELS, PIXELS)
            red, green, _ = picture.convert("RGB").getpixel((40, 40))
            assert red == pytest.approx(row.row, abs=4)  # the colour of image i of the toy data
            assert green < 4


def test_rows_run_from_single_minded_to_many_minded(page):
    text = page.read_text()
    order = [int(u) for u in re.findall(r'data-name="unit" data-v="(\d+)"', text)]
    assert order == [4, 1, 2, 0, 3]
    assert "2 of 4 units answer to more than one kind of image, 1.75 kinds on average; 1" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert text.count("data:image/png") == 12
    assert text.count("data:image/jpeg") == 35
    ranks = re.findall(r'alt="(\d+): train/\d+, [\d.]+"', text)
    assert [int(r) for r in ranks[-15:]] == [*range(1, 6), *range(21, 26), *range(33, 38)]
    assert "<span>30%</span>" in text


def test_a_page_without_pictures_or_packing(tmp_path):
    bare = UNITS.drop(columns=["packed", "names"])
    path = polysemanticity_page(tmp_path / "bare.html", bare, title="All <units>")
    text = path.read_text()
    assert "All &lt;units&gt;</h1>" in text
    assert "data:image" not in text
    assert "by optimisation" not in text
    assert "concepts" not in text
    assert text.count("<tr>") == 6


def test_the_section_of_a_report(found, layer, pictures, tmp_path):
    assert polysemanticity_of(tmp_path, {}) is None
    where = {"model": "net", "layer": "conv"}
    members = write_exemplars(found, *layer, tmp_path, each=2).assign(**where)
    tables = {
        "polysemanticity": pd.concat(
            [UNITS.assign(**where), UNITS.assign(model="net", layer="other", packed=np.nan)]
        ),
        "polysemanticity_members": members[members["unit"] < 2],
        "polysemanticity_pictures": pictures.assign(**where),
    }
    said = polysemanticity_of(tmp_path, tables)
    assert said["reading"][0] == (
        "net, conv: 2 of 4 units answer to more than one kind of image, 1.75 kinds on average; "
        "1 never fire."
    )
    first, other = said["layers"]
    assert [r["unit"] for r in first["rows"]] == [4, 1, 2, 0]  # those with any picture
    assert [len(r["seen"]) for r in first["rows"]] == [4, 0, 4, 4]
    assert [len(k["patches"]) for k in first["rows"][3]["kinds"]] == [2, 2, 2]
    assert [r["unit"] for r in other["rows"]] == [4, 1, 2, 0, 3]
    assert not other["packed"]
    assert not other["patches"]
    assert not other["seen"]
    (tmp_path / "unit2-0.png").unlink()
    gone = polysemanticity_of(tmp_path, tables)["layers"][0]
    assert [len(r["seen"]) for r in gone["rows"]] == [4, 0, 3, 4]


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1400, 390])
def test_sorting_in_a_browser(page, tmp_path, width):
    said = said_by(page, DRIVER, tmp_path, width)
    assert said["heads"][1:3] == ["kinds", "similarity"]
    assert said["first"] == ["4", "1", "2", "0", "3"]
    assert said["many"] == ["0", "2", "4", "1", "3"]
    assert said["single"] == ["3", "4", "1", "2", "0"]
    assert said["names"] == ["4", "2", "1", "0", "3"]
    assert said["pictures"] == 47
    assert said["rows"] == 7
    assert said["lines"] == 1  # the visualisations of a unit stand side by side
    assert said["broken"] == 0
    assert said["fetched"] == []
    assert not said["wide"]
