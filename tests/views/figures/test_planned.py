import re

import pytest
from PIL import Image

from conceptlab.views.figures.planned import planned, write_figures
from conceptlab.views.pictures.overlay import upright
from conceptlab.views.tables import read_tables

KINDS = {
    "figure2", "figure3", "figure5", "figure6", "figure7", "figure9", "figure10", "controls",
    "packing", "pinned", "comparison", "zoom", "plane", "tcav", "sankey", "erasure", "families",
}  # fmt: skip


def test_every_figure_is_written_as_a_picture(run):
    files = write_figures(run)
    names = [f.stem for f in files]
    assert {n.split("-")[0] for n in names} == KINDS | {"figure1", "figure8"}
    assert len(set(names)) == len(names)
    assert sorted((run / "figures").iterdir()) == sorted(files)
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert file.stem.startswith(("figure1-", "figure8-")) or 300 < picture.width < 2000


@pytest.mark.parametrize(
    ("gone", "kinds"),
    [
        ("concepts", {"figure2", "figure5", "figure6", "controls"}), ("subsets", {"figure3"}),
        ("per_image", {"figure7"}), ("distances", {"figure10"}), ("units", set()),
        ("agreement_by_layer", {"figure9"}), ("packing", {"packing"}), ("pinned", {"pinned"}),
        ("comparison", {"comparison"}), ("projection", {"plane"}), ("zoom", {"zoom"}),
        ("zoom_by_category", set()), ("tcav", {"tcav"}), ("decomposition", {"sankey"}),
        ("erasure", {"erasure"}), ("families", {"families"}), ("cavs", set()),
        ("saturation", set()), ("distributions", set()), ("distances_by_category", set()),
    ],
)  # fmt: skip
def test_a_table_that_is_gone_takes_its_figures_with_it_and_no_others(finished, gone, kinds):
    tables = read_tables(finished)
    del tables[gone]
    assert {p.name.split("-")[0] for p in planned(tables)} == KINDS - kinds


def test_without_tables_there_is_nothing_to_draw(tmp_path):
    assert write_figures(tmp_path) == []


def test_captions_are_sentences_and_name_the_figure_of_the_paper(finished):
    for plan in planned(read_tables(finished)):
        assert plan.caption.endswith("."), plan.name
        number = re.match(r"figure(\d+)", plan.name)
        assert number is None or f"Figure {number[1]}." in plan.caption


def test_a_figure_of_nothing_but_missing_scores_is_not_planned(finished):
    concepts = read_tables(finished)["concepts"].assign(probe_score=float("nan"))
    assert list(planned({"concepts": concepts})) == []


def test_distributions_show_the_layer_with_the_highest_mean_of_each_network(finished):
    tables = read_tables(finished)
    rows = tables["per_image"]
    for plan in planned({"per_image": rows}):
        model = plan.name.removeprefix("figure7-")
        means = rows[rows["model"] == model].groupby("layer")["iou_probe"].mean()
        assert means.idxmax() in plan.title


def test_networks_whose_names_no_file_can_have_get_figures_of_their_own(finished):
    concepts = read_tables(finished)["concepts"]
    concepts["model"] = concepts["model"].map({"net": "a/b", "other": "a:b"})
    names = [p.name for p in planned({"concepts": concepts})]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", n) for n in names)


def test_squares_side_by_side_are_turned_upright_and_nothing_else():
    row = Image.new("RGB", (6, 2), "red")
    row.paste("blue", (4, 0, 6, 2))
    column = upright(row)
    assert column.size == (2, 6)
    assert [column.getpixel((0, y)) for y in (0, 2, 4)] == [(255, 0, 0)] * 2 + [(0, 0, 255)]
    for size in ((2, 2), (5, 2)):
        other = Image.new("RGB", size)
        assert upright(other) is other
