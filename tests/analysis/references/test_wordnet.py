"""WordNet as a space: by hand on small trees, and as nltk has it on the whole of it."""

import logging
import random

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.analysis.references.synsets import synset_table, wordnet_reader
from conceptlab.analysis.references.wordnet import wordnet
from conceptlab.errors import InputError
from tests.analysis.references.wordnet_files import DIAMOND, LOPSIDED, concepts, write_wordnet


@pytest.fixture(scope="module")
def diamond(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet") / "diamond", DIAMOND)


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


def test_two_ways_up_count_as_each_measure_says(diamond):
    names = ["both", "near", "one", "three"]
    steps = np.array([[0, 1, 3, 1], [1, 0, 2, 4], [3, 2, 0, 2], [1, 4, 2, 0]])
    found = wordnet(names, folder=diamond).similarity
    np.testing.assert_allclose(found, 1 / (1 + steps))
    wanted = np.eye(4)
    wanted[0, 1] = wanted[1, 0] = 4 / (4 + 1)  # near, at depth 2
    wanted[0, 2] = wanted[2, 0] = 4 / (4 + 3)  # one, at depth 2
    wanted[0, 3] = wanted[3, 0] = 8 / (8 + 1)  # three, at depth 4
    wanted[1, 2] = wanted[2, 1] = 2 / (2 + 2)  # entity
    wanted[1, 3] = wanted[3, 1] = 2 / (2 + 4)
    wanted[2, 3] = wanted[3, 2] = 4 / (4 + 2)
    np.testing.assert_allclose(wordnet(names, "wup", folder=diamond).similarity, wanted)


def test_a_synset_is_one_to_itself_also_where_nltk_says_less(diamond):
    both = wordnet_reader(diamond).synset("both.n.01")
    assert both.wup_similarity(both) == pytest.approx(8 / 10)
    given = {"a": "both.n.01", "b": "both.n.01", "c": "near.n.01"}
    for measure in ("path", "wup"):
        found = wordnet(["a", "b", "c"], measure, folder=diamond, synsets=given).similarity
        assert (found[:2, :2] == 1).all()
        assert (found[:2, 2] < 1).all()


def test_of_two_answers_for_two_orders_the_larger_counts(tmp_path):
    reader = wordnet_reader(write_wordnet(tmp_path / "dict", LOPSIDED))
    both, leaf = (reader.synset(f"{name}.n.01") for name in ("both", "leaf"))
    assert both.wup_similarity(leaf) == pytest.approx(8 / (8 + 1))  # over both, at depth 4
    assert leaf.wup_similarity(both) == pytest.approx(6 / (6 + 3))  # over alone, at depth 3
    for names in (["both", "leaf"], ["leaf", "both"]):
        found = wordnet(names, "wup", folder=tmp_path / "dict").similarity
        np.testing.assert_allclose(found, [[1, 8 / 9], [8 / 9, 1]])


@pytest.mark.parametrize("measure", ["path", "wup"])
def test_similarities_are_nltks_on_the_whole_tree(whole, measure):
    some = random.Random(0).sample(sorted(s.name() for s in whole.all_synsets("n")), 60)
    some += ["person.n.01", "child.n.01", "chef.n.01", "paris.n.01", "entity.n.01"]
    some += ["dog.n.01", "puppy.n.01", "hunting_dog.n.01", "cat.n.01"]  # by two ways from the root
    given = {f"c{k}": name for k, name in enumerate(some)}
    found = wordnet(list(given), measure, synsets=given).similarity
    np.testing.assert_array_equal(found, found.T)
    assert (np.diagonal(found) == 1).all()
    synsets = [whole.synset(name) for name in some]
    for i, one in enumerate(synsets):
        for j, other in enumerate(synsets[:i]):
            if measure == "path":
                wanted = one.path_similarity(other)
            else:
                wanted = max(one.wup_similarity(other), other.wup_similarity(one))
            assert found[i, j] == wanted, (some[i], some[j])


def test_concepts_that_share_a_name_stand_apart_by_their_category(small):
    given = concepts(("orange", "color"), ("orange", "object"), ("street light", "object"))
    found = wordnet(given, folder=small)
    assert found.names == ["color/orange", "object/orange", "street light"]
    assert list(found.concepts.columns) == ["name", "category", "synset", "note"]
    assert found.similarity[0, 1] == pytest.approx(1 / (1 + 3))


def test_unknown_names_stay_listed_and_are_said(small, caplog):
    with caplog.at_level(logging.WARNING):
        found = wordnet(["dog", "unicorn", "cat"], folder=small)
    assert "does not know unicorn" in caplog.text
    assert len(found) == 3
    assert list(found.usable) == [True, False, True]
    assert np.isnan(found.similarity[1]).all()
    assert found.concepts["note"].iloc[1] == "not in WordNet"
    none = wordnet(["unicorn"], folder=small)
    assert np.isnan(none.similarity).all()


def test_a_table_of_synsets_is_edited_and_given_back(small, tmp_path):
    given = concepts(("orange", "color"), ("unicorn", "object"), ("dog", "object"))
    table = synset_table(given, small)
    table.loc[1, "synset"] = " animal.n.01 "
    for mark in ("utf-8", "utf-8-sig"):  # as spreadsheets save it
        table.to_csv(tmp_path / "synsets.csv", index=False, encoding=mark)
        for synsets in (table, tmp_path / "synsets.csv", str(tmp_path / "synsets.csv")):
            found = wordnet(given, folder=small, synsets=synsets)
            wanted = ["orange.n.01", "animal.n.01", "dog.n.01"]
            assert found.concepts["synset"].tolist() == wanted
            assert found.concepts["note"].tolist() == ["", "as given", ""]
            assert found.similarity[1, 2] == pytest.approx(1 / 2)


def test_a_table_made_from_bare_names_serves_concepts_with_categories(small, tmp_path):
    table = synset_table(["dog", "cat"], small).assign(synset=["lamp.n.01", "cat.n.01"])
    table.to_csv(tmp_path / "bare.csv", index=False)
    given = concepts(("dog", "object"), ("cat", "object"))
    for synsets in (table, tmp_path / "bare.csv", table.assign(category=None)):
        found = wordnet(given, folder=small, synsets=synsets)
        assert found.concepts["synset"].tolist() == ["lamp.n.01", "cat.n.01"]


def test_a_concept_may_be_called_null(small, tmp_path):
    pd.DataFrame({"name": ["null"], "synset": ["dog.n.01"]}).to_csv(tmp_path / "null.csv")
    found = wordnet(["null"], folder=small, synsets=tmp_path / "null.csv")
    assert found.concepts["synset"].item() == "dog.n.01"


def test_names_to_synsets_edit_single_concepts_and_empty_ones_take_them_out(small):
    given = concepts(("orange", "color"), ("orange", "object"), ("unicorn", "object"))
    synsets = {"unicorn": "cat.n.01", "color/orange": ""}
    found = wordnet(given, folder=small, synsets=synsets)
    assert list(found.usable) == [False, True, True]
    assert found.concepts["note"].tolist() == ["as given", "", "as given"]
    assert not wordnet(["dog"], folder=small, synsets={"dog": None}).usable.any()


def test_names_that_are_no_concepts_are_said(small, caplog):
    with caplog.at_level(logging.WARNING):
        wordnet(["dog"], folder=small, synsets={"dgo": "cat.n.01", "dog": "dog.n.01"})
    assert caplog.messages == ["the table of synsets names dgo, which are no concepts here"]


def test_word_vectors_with_wordnets_geometry_lie_at_no_distance_from_it(small, tmp_path):
    names = ["dog", "cat", "lamp", "street light", "orange", "attribute"]
    tree = wordnet(names, folder=small)
    rows = np.linalg.cholesky(tree.similarity)
    words = {}
    for title, order in (("planted", range(6)), ("shuffled", [3, 0, 5, 1, 2, 4])):
        lines = [
            " ".join([name.replace(" ", "_"), *map(repr, rows[k].tolist())])
            for name, k in zip(names, order, strict=True)
        ]
        (tmp_path / title).write_text("\n".join(lines))
        words[title] = cl.word_vectors(tmp_path / title, names)
    apart = cl.embedding_distance({"WordNet": tree, **words}).matrix
    assert apart.loc["WordNet", "planted"] == pytest.approx(0, abs=1e-12)
    assert apart.loc["WordNet", "shuffled"] > 0.1
    assert cl.rsa(tree, words["planted"], "pearson", draws=0).value == pytest.approx(1)
    assert cl.rsa(tree, words["shuffled"], "pearson", draws=0).value < 0.5


def test_bad_input_is_refused_in_a_sentence(small, tmp_path):
    with pytest.raises(InputError, match="measure is 'path' or 'wup'"):
        wordnet(["dog"], "lin", folder=small)
    for wrong in ("dog.n.99", "dog", "nothing.n.01", "dog.n.x"):
        with pytest.raises(InputError, match=f"no synset '{wrong}'"):
            wordnet(["dog"], folder=small, synsets={"dog": wrong})
    with pytest.raises(InputError, match=r"cannot read the table of synsets .*none\.csv"):
        wordnet(["dog"], folder=small, synsets=tmp_path / "none.csv")
    for wrong in (pd.DataFrame({"a": ["b"]}), ["dog.n.01"], 3):
        with pytest.raises(InputError, match="columns name and synset"):
            wordnet(["dog"], folder=small, synsets=wrong)
    with pytest.raises(InputError, match="no concepts"):
        wordnet([], folder=small)


def test_damage_above_a_concept_is_said(tmp_path):
    folder = write_wordnet(tmp_path / "dict")
    body = (folder / "data.noun").read_text()
    (folder / "data.noun").write_text(body.replace(" 03 n 01 entity", " 03 n xx entity"))
    assert synset_table(["dog"], folder)["synset"].item() == "dog.n.01"
    with pytest.raises(InputError, match=r"the WordNet in .*dict is damaged"):
        wordnet(["dog"], folder=folder)


@pytest.mark.usefixtures("whole")
def test_only_nouns_hang_in_one_tree():
    with pytest.raises(InputError, match=r"'run\.v\.01' is no noun"):
        wordnet(["run"], synsets={"run": "run.v.01"})
