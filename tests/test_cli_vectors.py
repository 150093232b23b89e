"""Commands that ask questions of vectors on disk: answers as Python gives them, and bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import conceptlab as cl
from tests.analysis.references.wordnet_files import write_wordnet
from tests.analysis.vectors.test_clusters import embedding

NAMES = ["dog", "cat", "lamp", "streetlight", "animal", "artifact", "entity", "attribute"]


@pytest.fixture
def files(tmp_path):
    """Two files of vectors of the same concepts, in spaces of other units."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 12))
    paths = []
    for name, own in (("one", rows), ("two", rows @ rng.normal(size=(12, 9)))):
        categories = ["object"] * 7 + ["color"]
        embedding(own, categories, NAMES).save(tmp_path / f"{name}.h5")
        paths.append(tmp_path / f"{name}.h5")
    return paths


def rows_of(conceptlab, *words):
    code, out, err = conceptlab(*words, "--json")
    assert code == 0, err
    assert out.count("\n") == 1
    return pd.DataFrame(json.loads(out))


def test_nearest_are_those_of_python_with_their_chances(conceptlab, files):
    found = rows_of(conceptlab, "nearest", files[0], "dog", "lamp", "-k", "3", "--draws", "99")
    wanted = cl.neighbours(cl.ConceptVectors.load(files[0]), 3, draws=99)
    wanted = wanted[wanted["concept"].isin(["dog", "lamp"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted, check_exact=False, atol=1e-9)
    code, out, _ = conceptlab("nearest", files[0], "dog")
    assert code == 0
    assert out.splitlines()[0].split() == [*wanted.columns]


def test_sums_take_any_number_of_terms(conceptlab, files):
    found = rows_of(conceptlab, "arithmetic", files[0], "dog + lamp - cat - animal", "cat")
    vectors = cl.ConceptVectors.load(files[0])
    wanted = vectors.arithmetic(["dog", "lamp"], ["cat", "animal"])
    assert found["concept"].tolist()[:4] == wanted["concept"].tolist()
    assert set(found["sum"]) == {"dog + lamp - cat - animal", "cat"}


def test_comparisons_write_tables_and_pictures(conceptlab, files, tmp_path, monkeypatch):
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(write_wordnet(tmp_path / "dict")))
    words = tmp_path / "words.txt"
    words.write_text("".join(f"{name} {i} {i * i % 7} 1\n" for i, name in enumerate(NAMES)))
    measures = ("-m", "distance", "-m", "rsa-kendall", "--draws", "19")
    references = ("--wordnet", "wup", "--words", words)
    found = rows_of(conceptlab, "compare", *files, *measures, *references, "--out", "made")
    assert set(found["i"]) | set(found["j"]) == {
        "net top segmentation", "net top segmentation (two.h5)", "WordNet", "words.txt",
    }  # fmt: skip
    assert len(found) == 6 * 2
    first, second = (cl.ConceptVectors.load(f) for f in files)
    own = found[found["j"].str.startswith("net") & (found["measure"] == "distance")]
    wanted = cl.embedding_distance([first, second]).matrix.iloc[0, 1]
    assert own["value"].item() == pytest.approx(wanted)
    for name in ("comparison", "distances", "distances_by_category"):
        assert len(pd.read_csv(tmp_path / "made" / "tables" / f"{name}.csv"))
    for path in (tmp_path / "made" / "figures").iterdir():
        with Image.open(path) as picture:
            assert picture.width > 200


def test_a_comparison_says_when_its_measures_are_adequate(conceptlab, files):
    _, out, _ = conceptlab("compare", *files, "-m", "procrustes", "--draws", "0")
    assert "procrustes: Adequate where" in out
    _, quiet, _ = conceptlab("compare", *files, "-m", "procrustes", "--draws", "0", "--quiet")
    assert "Adequate" not in quiet


def test_planes_are_those_of_the_seed(conceptlab, files, tmp_path):
    found = rows_of(conceptlab, "project", files[0], "--method", "pca", "--out", "made")
    wanted = cl.project(cl.ConceptVectors.load(files[0]), "pca").table
    pd.testing.assert_frame_equal(found, wanted, check_exact=False, atol=1e-9)
    assert (tmp_path / "made" / "tables" / "projection-pca.csv").is_file()
    assert (tmp_path / "made" / "figures" / "projection-pca.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nearest", "FILE", "dogg"), "no concept 'dogg' here; nearest: dog"),
        (("nearest", "none.h5", "dog"), "there is no file or run folder none.h5"),
        (("nearest", "text.txt", "dog"), "text.txt is not a file of concept vectors"),
        (("arithmetic", "FILE", "dog + lampp"), "no concept 'lampp' here; nearest: lamp"),
        (("arithmetic", "FILE", " "), "arithmetic needs at least one concept"),
        (("compare", "FILE"), "between two spaces or more; got 1"),
        (("compare", "FILE", "none.h5"), "there is no file or run folder none.h5"),
        (("compare", "FILE", "text.txt"), "text.txt is neither a file of concept vectors"),
        (("compare", "FILE", "FILE", "-m", "cca"), "unknown measure 'cca'"),
        (("compare", "FILE", "FILE", "--concepts", "all"), "--concepts is same or shared"),
        (("compare", "FILE", "FILE", "--wordnet", "lin"), "measure is 'path' or 'wup'"),
        (("compare", "FILE", "FILE", "--words", "none"), "cannot read the word vectors none"),
        (("project", "FILE", "--method", "isomap"), "method is one of umap, tsne, pca"),
        (("overlap", "none"), "none is no run folder"),
    ],
)
def test_bad_input_is_one_sentence(conceptlab, files, tmp_path, words, said):
    (tmp_path / "text.txt").write_text("no vectors")
    code, out, err = conceptlab(*(files[0] if word == "FILE" else word for word in words))
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("error: ")


def test_a_missing_wordnet_is_named(conceptlab, files, monkeypatch):
    monkeypatch.setenv("CONCEPTLAB_WORDNET", "/nowhere")
    code, _, err = conceptlab("compare", *files, "--wordnet", "path")
    assert code == 2
    assert "no WordNet in /nowhere" in err
    assert "wordnet-base" in err
