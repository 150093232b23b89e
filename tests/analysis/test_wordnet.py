"""WordNet as a space: by hand on ten nouns, and as nltk has it on the whole of it."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.analysis.synsets import FOLDER, LEXNAMES, synset_table, wordnet_reader
from conceptlab.analysis.wordnet import wordnet
from conceptlab.errors import InputError
from tests.analysis.test_clusters import embedding
from tests.analysis.wordnet_files import write_wordnet


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet") / "dict")


@pytest.fixture(scope="module")
def whole():
    if not Path(FOLDER, "data.noun").is_file():
        pytest.skip("no WordNet where Debian's wordnet-base puts it")
    return wordnet_reader(FOLDER)


def concepts(*pairs):
    return pd.DataFrame(pairs, columns=["name", "category"])


def test_path_similarities_are_those_of_the_drawn_tree(small):
    found = wordnet(["dog", "cat", "streetlight", "entity"], folder=small)
    steps = np.array([[0, 2, 5, 2], [2, 0, 5, 2], [5, 5, 0, 3], [2, 2, 3, 0]])
    np.testing.assert_allclose(found.similarity, 1 / (1 + steps))


def test_wu_palmer_similarities_are_those_of_the_drawn_tree(small):
    found = wordnet(["dog", "cat", "animal", "lamp"], "wup", folder=small)
    wanted = np.eye(4)
    wanted[0, 1] = wanted[1, 0] = 2 * 2 / (3 + 3)  # animal, at depth 2
    wanted[0, 2] = wanted[2, 0] = wanted[1, 2] = wanted[2, 1] = 2 * 2 / (3 + 2)
    wanted[0, 3] = wanted[3, 0] = wanted[1, 3] = wanted[3, 1] = 2 * 1 / (3 + 3)  # entity
    wanted[2, 3] = wanted[3, 2] = 2 * 1 / (2 + 3)
    np.testing.assert_allclose(found.similarity, wanted)


def test_the_category_chooses_among_the_senses_of_a_name(small):
    given = concepts(("orange", "color"), ("orange", "object"), ("street light", "object"))
    table = synset_table(given, small)
    assert list(table["synset"]) == ["orange.n.01", "orange.n.02", "streetlight.n.01"]
    assert table["candidates"].iloc[0] == "orange.n.02"
    found = wordnet(given, folder=small)
    assert found.names == ["color/orange", "object/orange", "street light"]
    assert found.similarity[0, 1] == pytest.approx(1 / (1 + 3))


@pytest.mark.parametrize(
    ("name", "synset", "note"),
    [
        ("Dogs", "dog.n.01", ""),
        ("StreetLight", "streetlight.n.01", ""),
        ("dog-c", "dog.n.01", ""),
        ("desk_lamp", "lamp.n.01", "by its last word, 'lamp'"),
        ("unicorn", "", "not in WordNet"),
        ("", "", "not in WordNet"),
    ],
)
def test_names_are_found_as_data_sets_write_them(small, name, synset, note):
    row = synset_table([name], small).iloc[0]
    assert (row["synset"], row["note"]) == (synset, note)


def test_unknown_names_stay_listed_and_are_said(small, caplog):
    with caplog.at_level(logging.WARNING):
        found = wordnet(["dog", "unicorn", "cat"], folder=small)
    assert "does not know unicorn" in caplog.text
    assert len(found) == 3
    assert list(found.usable) == [True, False, True]
    assert np.isnan(found.similarity[1]).all()
    assert found.concepts["note"].iloc[1] == "not in WordNet"


def test_a_table_of_synsets_is_edited_and_given_back(small, tmp_path):
    given = concepts(("orange", "color"), ("unicorn", "object"), ("dog", "object"))
    table = synset_table(given, small)
    table.loc[1, "synset"] = "animal.n.01"
    table.to_csv(tmp_path / "synsets.csv", index=False)
    found = wordnet(given, folder=small, synsets=tmp_path / "synsets.csv")
    assert found.concepts["synset"].tolist() == ["orange.n.01", "animal.n.01", "dog.n.01"]
    assert found.similarity[1, 2] == pytest.approx(1 / 2)
    by_name = wordnet(given, folder=small, synsets={"unicorn": "cat.n.01", "color/orange": ""})
    assert list(by_name.usable) == [False, True, True]
    assert by_name.concepts["note"].iloc[1] == "as given"


def test_similarities_are_nltks_on_the_whole_tree(whole):
    names = "dog cat car tree sky house chair apple water sand person wheel window red blue street"
    found = {m: wordnet(names.split(), m) for m in ("path", "wup")}
    synsets = [whole.synset(s) for s in found["path"].concepts["synset"]]
    for i, one in enumerate(synsets):
        for j, other in enumerate(synsets):
            assert found["path"].similarity[i, j] == pytest.approx(one.path_similarity(other))
            wup = max(one.wup_similarity(other), other.wup_similarity(one))
            assert found["wup"].similarity[i, j] == pytest.approx(wup)


def test_kinds_of_senses_have_their_names(whole):
    assert len(LEXNAMES) == 45
    for name, kind in (("dog", "animal"), ("car", "artifact"), ("sand", "substance"),
                       ("tree", "plant"), ("tail", "animal"), ("red", "attribute")):  # fmt: skip
        assert whole.synset(f"{name}.n.01").lexname() == f"noun.{kind}"
    colors = synset_table(concepts(("orange", "color"), ("orange", "object")))["synset"]
    assert colors.tolist() == ["orange.n.02", "orange.n.01"]


def test_a_reference_compares_with_vectors(small):
    names = ["dog", "cat", "lamp", "streetlight", "orange"]
    rng = np.random.default_rng(0)
    vectors = embedding(rng.normal(size=(5, 8)), names=names)
    tree = wordnet(vectors, folder=small)
    assert cl.rsa(tree, tree, "kendall", draws=0).value <= 1
    assert -1 <= cl.rsa(vectors, tree, "kendall", draws=9).value <= 1
    assert cl.embedding_distance({"net": vectors, "WordNet": tree}).matrix.iloc[0, 1] > 0


def test_other_programs_guard_of_paths_stays_as_it_is(small):
    program = (
        f"import nltk, nltk.data; before = list(nltk.data.path)\n"
        f"from conceptlab.analysis.wordnet import wordnet\n"
        f"wordnet(['dog', 'cat'], folder={str(small)!r})\n"
        f"assert nltk.data.path == before\n"
        f"from nltk import pathsec; assert pathsec.ENFORCE"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_bad_input_is_refused_in_a_sentence(small, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no WordNet in .*nowhere \(data.noun is missing\)"):
        wordnet(["dog"], folder=tmp_path / "nowhere")
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="elsewhere"):
        wordnet(["dog"])
    with pytest.raises(InputError, match="measure is 'path' or 'wup'"):
        wordnet(["dog"], "lin", folder=small)
    with pytest.raises(InputError, match=r"no synset 'dog\.n\.99'"):
        wordnet(["dog"], folder=small, synsets={"dog": "dog.n.99"})
    with pytest.raises(InputError, match="no synset 'dog'"):
        wordnet(["dog"], folder=small, synsets={"dog": "dog"})
    with pytest.raises(InputError, match="cannot read the table of synsets"):
        wordnet(["dog"], folder=small, synsets=tmp_path / "none.csv")
    with pytest.raises(InputError, match="columns name and synset"):
        wordnet(["dog"], folder=small, synsets=pd.DataFrame({"a": ["b"]}))
    with pytest.raises(InputError, match="no concepts"):
        wordnet([], folder=small)
    with pytest.raises(InputError, match="concepts are vectors, a table"):
        wordnet(3, folder=small)
    broken = write_wordnet(tmp_path / "broken")
    (broken / "index.noun").write_text("dog n x\n")
    with pytest.raises(InputError, match="cannot be read"):
        wordnet(["dog"], folder=broken)
