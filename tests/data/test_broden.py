"""The layout of Broden 1.0, by hand: several maps per cell, numbers, empty cells, bad input."""

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.errors import DataError, InputError

TABLES = {
    "category.csv": """name,first,last,count,frequency
color,1,2,2,3
object,12,300,3,3
part,12,12,1,2
scene,7,7,1,2
texture,8,9,2,2
""",
    "label.csv": """number,name,category,frequency,coverage,syns
1,red-c,color(3),3,1.0,
2,blue-c,color(2),2,1.0,
7,street-s,scene(2),2,2.0,
8,dotted,texture(1),1,1.0,
9,striped,texture(2),2,2.0,
12,door,object(12);part(3),15,4.0,doors
40,sky,object(3),3,1.0,
300,tree,object(2),2,1.0,trees
""",
    "c_color.csv": "code,number,name,frequency,coverage\n1,1,red-c,3,1.0\n2,2,blue-c,2,1.0\n",
    "c_object.csv": """code,number,name,frequency,coverage
1,12,door,12,3.0
2,40,sky,3,1.0
3,300,tree,2,1.0
""",
    "c_part.csv": "code,number,name,frequency,coverage\n1,12,door,3,1.0\n",
    "c_scene.csv": "code,number,name,frequency,coverage\n1,7,street-s,2,2.0\n",
    "c_texture.csv": "code,number,name,frequency,coverage\n1,8,dotted,1,1\n2,9,striped,2,2\n",
}
HEAD = "image,split,ih,iw,sh,sw,color,object,part,material,scene,texture\n"
INDEX = HEAD + (
    "b/two.jpg,train,8,8,4,4,1,b/o1.png;b/o2.png,,,7,8;9\n"
    "b/one.jpg,train,8,8,4,4,b/c.png,b/o2.png,b/p.png,,,\n"
    "b/three.jpg,val,8,8,4,4,,,b/p1.png;b/p2.png,,,0\n"
)
CONCEPTS = ["red-c", "blue-c", "door", "sky", "tree", "door", "street-s", "dotted", "striped"]


def write_map(path, rows):
    numbers = np.array(rows)
    coded = np.stack([numbers % 256, numbers // 256, np.full_like(numbers, 9)], axis=-1)
    Image.fromarray(coded.astype(np.uint8)).save(path)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "broden"
    (root / "images/b").mkdir(parents=True)
    for level, name in enumerate(("one", "two", "three")):
        Image.new("RGB", (8, 8), (100 * level,) * 3).save(root / f"images/b/{name}.jpg")
    maps = {
        "o1": [[12] * 4, [12] * 4, [40] * 4, [0] * 4],
        "o2": [[300] * 4, [0] * 4, [0] * 4, [0] * 4],
        "c": [[1, 1, 2, 2]] * 4,
        "p": [[0, 12, 12, 0]] * 4,
        "p1": [[12, 0, 0, 0]] * 4,
        "p2": [[0, 0, 0, 12]] * 4,
    }
    for name, rows in maps.items():
        write_map(root / f"images/b/{name}.png", rows)
    for name, text in TABLES.items():
        (root / name).write_text(text)
    (root / "index.csv").write_text(INDEX)
    return root


def test_catalogue(tree):
    data = load_data(f"broden:{tree}")
    assert data.catalogue["name"].tolist() == CONCEPTS
    assert data.catalogue["category"].tolist() == (
        ["color"] * 2 + ["object"] * 3 + ["part"] + ["scene"] + ["texture"] * 2
    )
    assert data.catalogue["level"].tolist() == ["pixel"] * 6 + ["image"] * 3
    assert data.categories == ["color", "object", "part", "scene", "texture"]
    assert data.names.tolist() == ["train/b/one", "train/b/two", "val/b/three"]
    assert data.name == "broden"
    assert np.asarray(data.image(1))[0, 0, 0] == 100


def test_several_maps_and_numbers_in_a_cell(tree):
    data = load_data(f"broden:{tree}")
    assert data.planes == 3  # train/b/two: two maps of objects and the number of a colour
    labels = data.labels(1)
    assert labels.planes[:, :, 0].tolist() == [[2, 2, 3, -1], [4, -1, -1, -1], [0, 0, 0, 0]]
    assert labels.image_concepts.tolist() == [6, 7, 8]
    assert labels.image_unlabelled == 0
    assert (labels.unlabelled == 1 << data.categories.index("part")).all()
    masks = data.masks(1)
    assert {c: int(m.sum()) for c, m in masks.items()} == {0: 16, 2: 8, 3: 4, 4: 4}


def test_a_label_of_two_categories_is_a_concept_in_each(tree):
    data = load_data(f"broden:{tree}")
    assert data.labels(0).planes[2].tolist() == [[-1, 5, 5, -1]] * 4  # the door that is a part
    assert 2 in data.masks(1)  # and the one that is an object
    table = data.concepts
    assert table["n_train"].tolist() == [2, 1, 1, 1, 2, 1, 1, 1, 1]
    assert table["n_val"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert table["mean_area"][0] == pytest.approx((0.5 + 1) / 2)


def test_empty_cells_are_unlabelled_and_zero_is_a_negative(tree):
    data = load_data(f"broden:{tree}")
    bits = {c: 1 << g for g, c in enumerate(data.categories)}
    labels = data.labels(0)
    assert labels.unlabelled is None  # colour, object and part all have a map
    assert labels.image_unlabelled == bits["scene"] | bits["texture"]
    labels = data.labels(2)
    assert (labels.unlabelled == bits["color"] | bits["object"]).all()
    assert labels.image_unlabelled == bits["scene"]  # texture 0: none holds, and that is known
    assert labels.planes.shape == (2, 4, 4)
    assert data.masks(2)[5].sum() == 8


def test_pictures_without_any_map(tree):
    (tree / "index.csv").write_text(HEAD + "b/one.jpg,train,8,8,,,,,,,7,\n")
    data = load_data(f"broden:{tree}")
    assert data.planes == 1
    assert data.labels(0).planes.tolist() == [[[-1] * 8] * 8]
    assert data.masks(0) == {}
    assert data.image_concepts(0).tolist() == [6]


def test_a_map_in_a_scenes_cell_holds_for_the_picture(tree):
    write_map(tree / "images/b/s.png", [[8, 8, 9, 0]] * 4)
    (tree / "index.csv").write_text(HEAD + "b/one.jpg,train,8,8,4,4,,,,,,b/s.png\n")
    assert load_data(f"broden:{tree}").labels(0).image_concepts.tolist() == [7, 8]


def test_a_sound_tree(tree):
    data = load_data(f"broden:{tree}")
    assert data.validate() == []
    (tree / "c_part.csv").write_text(TABLES["c_part.csv"] + "2,40,sky,1,1\n")
    (remark,) = load_data(f"broden:{tree}").validate()
    assert (remark.file, remark.severity) == ("c_part.csv", "remark")
    assert "'sky' is in none of these pictures" in remark.message


def test_fingerprints(tree):
    def prints():
        data = load_data(f"broden:{tree}")
        return data.fingerprint, data.label_fingerprint

    before = prints()
    write_map(tree / "images/b/p.png", [[0, 12, 0, 0]] * 4)
    relabelled = prints()
    assert relabelled[0] == before[0]
    assert relabelled[1] != before[1]
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tree / "images/b/one.jpg")
    assert prints()[0] != before[0]


@pytest.mark.parametrize(
    ("spoil", "file", "message"),
    [
        (lambda r: (r / "images/b/one.jpg").unlink(), "images/b/one.jpg", "is missing"),
        (lambda r: (r / "images/b/p.png").unlink(), "images/b/p.png", "is missing"),
        (
            lambda r: (r / "images/b/p1.png").write_bytes(b"\x89PNG"),
            "images/b/p1.png",
            "is damaged or no picture",
        ),
        (
            lambda r: write_map(r / "images/b/c.png", [[1, 1, 2, 99]] * 4),
            "images/b/c.png",
            "has number 99, which is not in label.csv",
        ),
        (
            lambda r: write_map(r / "images/b/c.png", [[1, 1]] * 3),
            "images/b/c.png",
            "is 2 x 3; index.csv says 4 x 4",
        ),
        (
            lambda r: Image.new("L", (4, 4)).save(r / "images/b/c.png"),
            "images/b/c.png",
            "is a L picture; a label map is RGB",
        ),
        (
            lambda r: Image.new("RGB", (9, 8)).save(r / "images/b/one.jpg"),
            "images/b/one.jpg",
            "is 9 x 8; index.csv says 8 x 8",
        ),
        (
            lambda r: (r / "index.csv").write_text(INDEX.replace(",7,8;9", ",77,8;9")),
            "index.csv",
            "b/two.jpg has number 77, which is not in label.csv",
        ),
    ],
)
def test_what_is_wrong_file_by_file(tree, spoil, file, message):
    spoil(tree)
    found = [p for p in load_data(f"broden:{tree}").validate() if p.severity == "error"]
    assert [p.file for p in found] == [file]
    assert message in found[0].message
    assert str(tree) not in found[0].message  # the file is named once


def test_numbers_of_another_category_are_left_out(tree):
    write_map(tree / "images/b/c.png", [[1, 1, 2, 40]] * 4)
    data = load_data(f"broden:{tree}")
    assert data.labels(0).planes[0, 0].tolist() == [0, 0, 1, -1]
    (remark,) = data.validate()
    assert (remark.file, remark.severity) == ("images/b/c.png", "remark")
    assert "number 40 is not in c_color.csv" in remark.message


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("index.csv", "b/one.jpg", "../one.jpg", "'../one.jpg' is no file inside images/"),
        ("index.csv", "b/p.png", "/etc/p.png", "'/etc/p.png' is no file inside images/"),
        ("index.csv", "b/p.png", "b/../../p.png", "is no file inside images/"),
        ("index.csv", "b/p.png", "C:\\p.png", "is no file inside images/"),
        ("index.csv", "b/one.jpg", "b/two.png", "has two pictures called train/b/two"),
        ("index.csv", ",val,", ",validation,", "of split 'validation'; splits are train, val"),
        ("index.csv", ",train,", ",val,", "has no picture of split train"),
        ("index.csv", "8,8,4,4,b/c", "8,8,x,4,b/c", "sh of b/one.jpg 'x' is no whole number"),
        ("index.csv", "8,8,4,4,b/c", "8,8,0,4,b/c", "has a side of 0 pixels"),
        ("index.csv", "8,8,4,4,b/c", "8,8,8,16,b/c", "label is 16 x 8 and its picture 8 x 8"),
        ("index.csv", "b/p.png", "b\\..\\..\\p.png", "is no file inside images/"),
        ("index.csv", ",scene,", ",place,", "needs the columns .*; it lacks scene"),
        ("category.csv", "part,12", "scene,12", "category 'scene' stands in 2 rows"),
        ("label.csv", "40,sky", "40,", "number 40 lacks a name"),
        ("label.csv", "40,sky", "12,sky", "number 12 stands in two rows"),
        ("label.csv", "40,sky", "x,sky", "number 'x' is no whole number"),
        ("c_object.csv", "2,40,", "2,41,", "number 41 is not in label.csv"),
        ("c_object.csv", "2,40,", "2,12,", "number 12 stands in two rows"),
        ("category.csv", "part,12", "parts,12", "cannot read .*c_parts.csv"),
    ],
)
def test_tables_that_cannot_be_understood(tree, file, old, new, message):
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message.replace(".csv", r"\.csv")):
        load_data(f"broden:{tree}")


def test_missing_tables_and_options(tree, tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        load_data(f"broden:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="unknown option 'colors'"):
        load_data(f"broden:{tree},colors=true")
    for name in ("index.csv", "label.csv", "category.csv"):
        content = (tree / name).read_bytes()
        (tree / name).unlink()
        with pytest.raises(DataError, match=f"cannot read .*{name}"):
            load_data(f"broden:{tree}")
        (tree / name).write_bytes(content)


def test_a_picture_of_another_aspect_than_its_label(tree):
    Image.new("RGB", (16, 8)).save(tree / "images/b/one.jpg")
    with pytest.raises(DataError, match="is 4 x 4 and its picture 16 x 8: their aspects differ"):
        load_data(f"broden:{tree}").image(0)


def test_tables_as_other_programs_write_them(tree):
    """Windows line ends, a byte order mark, a comma in a name, spaces, empty rows at the end."""
    before = load_data(f"broden:{tree}")
    for file in tree.glob("*.csv"):
        text = (
            file.read_text().replace(",sky,", ',"sky, blue; or not",').replace(",part,", ", part,")
        )
        file.write_bytes(b"\xef\xbb\xbf" + (text + ",,\n\n").replace("\n", "\r\n").encode())
    data = load_data(f"broden:{tree}")
    assert data.catalogue["name"].tolist() == [
        n if n != "sky" else "sky, blue; or not" for n in CONCEPTS
    ]
    assert data.validate() == []
    for i in range(3):
        assert np.array_equal(data.labels(i).planes, before.labels(i).planes)


def test_two_labels_of_one_name_in_a_category_are_told_apart(tree):
    for file in ("label.csv", "c_object.csv"):
        (tree / file).write_text(TABLES[file].replace(",sky,", ",door,"))
    names = load_data(f"broden:{tree}").catalogue["name"].tolist()
    assert names == [n if n != "sky" else "door (40)" for n in CONCEPTS]


def test_maps_saved_with_a_palette_are_their_colours(tree):
    before = load_data(f"broden:{tree}").labels(1).planes
    file = tree / "images/b/o1.png"
    with Image.open(file) as picture:
        palette = picture.quantize()
    palette.save(file)
    assert palette.mode == "P"
    assert np.array_equal(load_data(f"broden:{tree}").labels(1).planes, before)
