"""The report's section on what concepts do to predictions: outcomes, and what is escaped."""

import re

import pandas as pd
import pytest

from conceptlab.views.report.effects import effects_of
from conceptlab.views.report.report import write_report
from conceptlab.views.tables import read_tables


@pytest.fixture
def tables(finished):
    return read_tables(finished)


def test_a_run_without_effects_has_no_section(finished, tables):
    kept = {n: t for n, t in tables.items() if n in ("concepts", "summary")}
    assert effects_of(finished, kept) is None


def test_verdicts_have_their_look_and_say_the_numbers(finished, tables):
    families = tables["families"]
    found = effects_of(finished, tables)
    layers = families[["model", "layer"]].drop_duplicates()
    assert [m["where"] for m in found["matrix"]] == [f"{m}, {n}" for m, n in layers.to_numpy()]
    looks = {
        "used": ("up", "down"), "sensitive, not confirmed": ("maybe-up", "maybe-down"),
        "changed by erasure only": ("maybe-up", "maybe-down"), "contradictory": ("torn",),
        "not shown": ("",),
    }  # fmt: skip
    seen = 0
    for matrix, (model, layer) in zip(found["matrix"], layers.to_numpy(), strict=True):
        own = families[(families["model"] == model) & (families["layer"] == layer)]
        for row in matrix["rows"]:
            for name, cell in zip(matrix["classes"], row["cells"], strict=True):
                at = own[(own["class"] == name) & (own["concept"] == row["concept"])].iloc[0]
                if "chance" in str(at["note"]):
                    assert cell["kind"] == "chance"
                    continue
                assert cell["kind"] in looks[at["verdict"]]
                if at["verdict"] == "used":
                    assert cell["text"] == ("+" if at["used"] > 0 else "\u2212")
                    assert f"{at['used']:.1f}" in cell["title"]
                    seen += 1
    assert seen > 3


def test_sentences_count_what_the_table_holds(finished, tables):
    families = tables["families"]
    for sentence, (_, rows) in zip(
        effects_of(finished, tables)["reading"], families.groupby(["model", "layer"], sort=False),
        strict=True,
    ):  # fmt: skip
        numbers = [int(n) for n in re.findall(r"(?<![\w.])\d+(?![\w.]*\d)", sentence)]
        assert len(rows) in numbers
        assert (rows["used_p"] < 0.05).sum() in numbers
        assert (rows["verdict"] == "used").sum() in numbers


def test_the_page_escapes_names_and_holds_the_pictures(run):
    text = write_report(run).read_text()
    section = text[text.index('<section id="effects">') :]
    section = section[: section.index("</section>")]
    assert "<b>first</b>" not in section
    assert "&lt;b&gt;first&lt;/b&gt;" in section
    assert "<script>" not in section
    assert section.count("data:image/png") == 4
    (run / "row.png").unlink()
    assert 'alt="second taken apart' not in write_report(run).read_text()


def test_a_run_of_erasure_alone_has_its_tables(finished, tables):
    found = effects_of(finished, {"erasure": tables["erasure"]})
    assert found == {"reading": [], "matrix": [], "rows": []}


def test_concepts_without_any_finding_are_left_out(finished, tables):
    nothing = tables["families"].assign(verdict="not shown")
    assert effects_of(finished, {**tables, "families": nothing})["matrix"] == []
    assert isinstance(nothing, pd.DataFrame)
