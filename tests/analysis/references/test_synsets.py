"""Names find their synsets: on ten nouns, and as data sets write them on the whole WordNet."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from conceptlab.analysis.references.synsets import (
    LEXNAMES,
    NEEDED,
    synset_table,
)
from conceptlab.errors import InputError
from tests.analysis.references.wordnet_files import concepts, write_wordnet


def test_the_table_has_a_row_for_every_concept_in_their_order(small):
    given = concepts(("orange", "color"), ("unicorn", "object"), ("orange", "object"))
    table = synset_table(given, small)
    assert list(table.columns) == ["name", "category", "synset", "candidates", "note"]
    assert table.to_numpy().tolist() == [
        ["orange", "color", "orange.n.01", "orange.n.02", ""],
        ["unicorn", "object", "", "", "not in WordNet"],
        ["orange", "object", "orange.n.02", "orange.n.01", ""],
    ]


@pytest.mark.parametrize(
    ("name", "synset", "note"),
    [
        ("Dogs", "dog.n.01", ""),
        ("StreetLight", "streetlight.n.01", ""),
        ("street light", "streetlight.n.01", ""),
        ("dog-c", "dog.n.01", ""),
        ("desk_lamp", "lamp.n.01", "by its last word, 'lamp'"),
        ("tall street-light", "streetlight.n.01", "by its last words, 'street light'"),
        ("dog-outdoor", "dog.n.01", "by its first word, 'dog'"),
        ("unicorn", "", "not in WordNet"),
        ("", "", "not in WordNet"),
    ],
)
def test_names_are_found_as_data_sets_write_them(small, name, synset, note):
    row = synset_table([name], small).iloc[0]
    assert (row["synset"], row["note"]) == (synset, note)


def test_a_sense_that_does_not_suit_the_category_is_taken_with_a_remark(small):
    assert synset_table(concepts(("dog", "color")), small)["note"].item() == (
        "no sense that suits a color"
    )
    assert synset_table(concepts(("big dog", "color")), small)["note"].item() == (
        "by its last word, 'dog'; no sense that suits a color"
    )
    assert synset_table(concepts(("dog", "of our own")), small)["note"].item() == ""


def test_kinds_of_senses_have_their_names(whole):
    assert len(LEXNAMES) == 45
    for name, kind in (("dog", "animal"), ("car", "artifact"), ("sand", "substance"),
                       ("tree", "plant"), ("tail", "animal"), ("red", "attribute")):  # fmt: skip
        assert whole.synset(f"{name}.n.01").lexname() == f"noun.{kind}"


@pytest.mark.parametrize(
    ("category", "wanted"),
    [
        ("color", "orange:orange.n.02 grey:gray.n.01 white:white.n.02 red-c:red.n.01"),
        ("object", "orange:orange.n.01 bus-c:bus.n.01 dining_table:dining_table.n.01 men:man.n.01 "
                   "glass:glass.n.02 aeroplane:airplane.n.01 leaves:leaf.n.01 table:table.n.02"),
        ("part", "person-head:head.n.01 legs:leg.n.01 license-plate:license_plate.n.01"),
        ("material", "glass:glass.n.01 aluminium:aluminum.n.01 fabric:fabric.n.01"),
        ("scene", "street-s:street.n.01 living_room:living_room.n.01 church-outdoor:church.n.02 "
                  "mountain_snowy:mountain.n.01 theatre:theater.n.01"),
        ("camvid", "Bicyclist:cyclist.n.01 SignSymbol:symbol.n.01 Column_Pole:pole.n.01 "
                   "TrafficLight:traffic_light.n.01 VegetationMisc:vegetation.n.01 OtherMoving:"),
        # the heads of WordNet's own tree, and namesakes of things
        ("object", "person:person.n.01 plant:plant.n.02 food:food.n.01 crane:crane.n.04 "
                   "sand:sand.n.01 snow:snow.n.01 man:man.n.01"),
        ("", "plant:plant.n.02 tyre:tire.n.01 plough:plow.n.01 kerb:curb.n.01"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("whole")
def test_names_of_data_sets_find_the_sense_that_is_meant(category, wanted):
    pairs = [pair.split(":") for pair in wanted.split()]
    table = synset_table(concepts(*((name, category) for name, _ in pairs)))
    assert dict(zip(table["name"], table["synset"], strict=True)) == dict(pairs)


def test_a_folder_without_wordnet_is_said(small, tmp_path, monkeypatch):
    said = r"no WordNet in .*nowhere \(data.noun is missing\): apt install wordnet-base.*CONCEPTLAB"
    with pytest.raises(InputError, match=said):
        synset_table(["dog"], tmp_path / "nowhere")
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="elsewhere"):
        synset_table(["dog"])
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(small))
    assert synset_table(["dog"])["synset"].item() == "dog.n.01"
    for name in NEEDED:
        folder = write_wordnet(tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"{name} is missing"):
            synset_table(["dog"], folder)


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("index.noun", b"dog n x\n", "cannot be read"),
        ("data.noun", b"", "is damaged"),
        ("data.noun", b"x" * 9999, "is damaged"),
        ("data.noun", bytes(range(256)) * 40, "is damaged"),
    ],
)
def test_a_damaged_wordnet_is_said(tmp_path, name, body, said):
    folder = write_wordnet(tmp_path / "dict")
    (folder / name).write_bytes(body)
    with pytest.raises(InputError, match=f"the WordNet in .*dict {said}"):
        synset_table(["dog"], folder)


def test_nothing_of_nltk_or_of_warnings_is_left_changed(small):
    program = (
        "import warnings, nltk.data, nltk.pathsec\n"
        "state = lambda: (list(nltk.data.path), nltk.pathsec.ENFORCE, list(warnings.filters))\n"
        "from conceptlab.analysis.references.synsets import synset_table\n"
        "before = state()\n"
        f"assert synset_table(['dog'], {str(small)!r})['synset'].item() == 'dog.n.01'\n"
        "assert state() == before"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_no_file_stays_open(small):
    from conceptlab.analysis.references.synsets import _reader

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        reader = _reader.__wrapped__(small)
        assert reader.synset("dog.n.01").lexname() == "noun.animal"
        assert not any(str(small) in str(Path(f"/proc/self/fd/{d}").resolve()) for d in range(64))


def test_a_missing_nltk_is_said(small):
    program = (
        "import sys; sys.modules['nltk'] = None\n"
        "from conceptlab.analysis.references.synsets import synset_table\n"
        "from conceptlab.errors import InputError\n"
        f"try: synset_table(['dog'], {str(small)!r})\n"
        "except InputError as error: print(error)"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert made.stdout.strip() == "nltk is not installed: pip install 'conceptlab[wordnet]'"


def test_looking_up_says_nothing_by_itself(small, caplog):
    with caplog.at_level(logging.DEBUG):
        synset_table(["unicorn"], small)
    assert not caplog.records
