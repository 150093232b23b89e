"""Sound inputs of every reader, seeded changes to them, and the calls that read them."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pandas as pd
import torch
from fuzz_changes import Rng, changed_bytes, changed_text, replace, seal_again
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import conceptlab as cl
from conceptlab.activations.pictures import opened
from conceptlab.analysis.references.word_files import read_words
from conceptlab.analysis.references.wordnet import _choice
from conceptlab.models.sources.weights import load_weights
from conceptlab.numerics.sketch import Sketch
from conceptlab.seal import PAGE
from conceptlab.space import Space
from conceptlab.study.spaces import read_spaces
from conceptlab.vectors import ConceptVectors


class Reader(ABC):
    """A way into the package, with sound inputs for it.

    Args:
        place: folder for the sound inputs.
    """

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True)
        self.place = place
        self.make()

    @abstractmethod
    def make(self) -> None:
        """Write the sound inputs."""

    @abstractmethod
    def change(self, place: Path, rng: Rng) -> Any:
        """Write a changed input into an empty folder; what `read` takes."""

    @abstractmethod
    def read(self, given: Any) -> None:
        """Read it as a user would."""

    def copied(self, place: Path) -> Path:
        """A copy of the sound inputs."""
        return Path(shutil.copytree(self.place, place / "copy"))


class Pictures(Reader):
    """A picture in any format."""

    def make(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (12, 15, 4), dtype=np.uint8)
        rgb = Image.fromarray(noise[..., :3])
        for kind in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "ico", "dds", "tga", "pcx"):
            rgb.save(self.place / f"rgb.{kind}")
        for mode in ("L", "P", "1", "I;16", "RGBA", "LA"):
            values = rgb.convert("L") if mode == "I;16" else rgb.convert(mode)
            values = Image.fromarray(noise[..., 0].astype(np.uint16)) if mode == "I;16" else values
            values.save(self.place / f"{mode.replace(';', '')}.png")
        rgb.save(self.place / "progressive.jpg", progressive=True, exif=b"Exif\x00\x00MM\x00*")
        rgb.save(self.place / "packed.tif", compression="tiff_lzw")

    def change(self, place: Path, rng: Rng) -> Path:
        files = sorted(self.place.iterdir())
        one, other = (files[int(i)] for i in rng.integers(0, len(files), 2))
        path = place / f"x{rng.choice([one.suffix, '.png', '.jpg'])}"
        path.write_bytes(changed_bytes(one.read_bytes(), rng, other.read_bytes()))
        return path

    def read(self, given: Path) -> None:
        np.asarray(opened(given))


class FolderFile(Reader):
    """A file of a folder data set."""

    changed: ClassVar[str]

    def make(self) -> None:
        rng = np.random.default_rng(0)
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (self.place / kind / split).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(
                self.place / "images" / split / "a.png"
            )
            Image.fromarray(rng.integers(0, 4, (9, 8), dtype=np.uint8)).save(
                self.place / "labels" / split / "a.png"
            )
        rows = "0,void,ignore\n1,sky,object\n2,red,color\n3,a b,part\n"
        (self.place / "classes.csv").write_text("index,name,category\n" + rows)
        (self.place / "scenes.csv").write_text("image,scene\ntrain/a,street\nval/a,roof\n")

    def change(self, place: Path, rng: Rng) -> Path:
        root = self.copied(place)
        path = root / self.changed
        if path.suffix == ".csv":
            path.write_bytes(changed_text(path.read_text(encoding="utf-8"), rng))
        else:
            other = (root / "images/val/a.png").read_bytes()
            path.write_bytes(changed_bytes(path.read_bytes(), rng, other))
        return root

    def read(self, given: Path) -> None:
        for options in ("", ",colors=true"):
            data = cl.load_data(f"folder:{given}{options}")
            list(data.validate())
            data.labels(0)
            len(data.concepts)  # computed when asked for


class LabelMaps(FolderFile):
    """A label map."""

    changed = "labels/train/a.png"


class Classes(FolderFile):
    """classes.csv."""

    changed = "classes.csv"


class Scenes(FolderFile):
    """scenes.csv."""

    changed = "scenes.csv"


class Broden(Reader):
    """The tables and maps of Broden."""

    def make(self) -> None:
        codes = "code,number,name,frequency,coverage\n"
        tables = {
            "category.csv": "name,first,last,count,frequency\ncolor,1,2,2,3\nobject,12,40,2,3\n"
            "scene,7,7,1,2\n",
            "label.csv": "number,name,category,frequency,coverage,syns\n1,red-c,color(3),3,1.0,\n"
            "2,blue-c,color(2),2,1.0,\n7,street-s,scene(2),2,2.0,\n12,door,object(12),15,4.0,door\n"
            "40,sky,object(3),3,1.0,\n",
            "c_color.csv": f"{codes}1,1,red-c,3,1.0\n2,2,blue-c,2,1.0\n",
            "c_object.csv": f"{codes}1,12,door,12,3.0\n2,40,sky,3,1.0\n",
            "c_scene.csv": f"{codes}1,7,street-s,2,2.0\n",
            "index.csv": "image,split,ih,iw,sh,sw,color,object,part,material,scene,texture\n"
            "b/two.jpg,train,8,8,4,4,1,b/o.png,,,7,\nb/one.jpg,val,8,8,4,4,2,b/o.png,,,,\n",
        }
        (self.place / "images/b").mkdir(parents=True)
        for name, text in tables.items():
            (self.place / name).write_text(text)
        for name in ("one", "two"):
            Image.new("RGB", (8, 8), (90, 0, 0)).save(self.place / f"images/b/{name}.jpg")
        doors = Image.fromarray(np.full((4, 4, 3), (12, 0, 9), np.uint8))
        doors.save(self.place / "images/b/o.png")

    def change(self, place: Path, rng: Rng) -> Path:
        root = self.copied(place)
        names = [p for p in sorted(root.rglob("*")) if p.suffix in (".csv", ".png")]
        path = root / rng.choice(["index.csv", "index.csv", "label.csv", *map(str, names)])
        if path.suffix == ".csv":
            path.write_bytes(changed_text(path.read_text(encoding="utf-8"), rng))
        else:
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return root

    def read(self, given: Path) -> None:
        data = cl.load_data(f"broden:{given}")
        list(data.validate())
        for image in range(min(2, len(data))):
            data.labels(image)


class TextFile(Reader):
    """A file of text that is changed as a whole."""

    texts: ClassVar[dict[str, str]]

    def make(self) -> None:
        for name, text in self.texts.items():
            (self.place / name).write_text(text, encoding="utf-8")

    def change(self, place: Path, rng: Rng) -> Path:
        name = str(rng.choice(sorted(self.texts)))
        (place / name).write_bytes(changed_text(self.texts[name], rng))
        return place / name


class StudyFiles(TextFile):
    """A study in TOML."""

    texts: ClassVar[dict[str, str]] = {
        "s.toml": 'name = "x"\nseed = 3\n[data]\nspec = "scenes:n=60"\n[[models]]\n'
        'spec = "builtin:scenenet"\nlayers = ["features.17", "features.5"]\nmean = [0.5, 0.5, 1]\n'
        "size = 64\n[dissect]\ntau = 0.005\n[segment]\nsizes = [2, 4]\n[classify]\nsplit = 'val'\n"
        '[compare]\narithmetic = ["grass - green"]\n[tcav]\nclasses = ["street"]\n'
        "[look]\nunits = 3\n"
    }

    def read(self, given: Path) -> None:
        cl.read_study(given)


class UnitTables(TextFile):
    """Tables of units, ours and Network Dissection's."""

    texts: ClassVar[dict[str, str]] = {
        "ours.csv": "model,layer,unit,concept,category,iou_train,iou_val,threshold\n"
        "m,l,0,sky,object,0.2,0.3,1.5\nm,l,0,red,color,0.1,,1.5\nm,l,1,sky,object,0.01,0.02,2\n",
        "short.csv": "unit,category,label,score\n1,object,sky,0.3\n2,color,red,0.02\n",
        "long.csv": "unit,category,label,score,object-label,object-truth,object-activation,"
        "object-intersect,object-iou\n1,object,sky,0.3,sky,9,8,4,0.3\n2,object,car,0.1,car,9,9,1,0.1\n",
    }

    def read(self, given: Path) -> None:
        cl.summarize_units(given)


class SynsetTables(TextFile):
    """Tables of synsets."""

    texts: ClassVar[dict[str, str]] = {
        "s.csv": "name,category,synset\nsky,object,sky.n.01\nred,color,red.n.01\ncar,,car.n.01\n"
    }

    def read(self, given: Path) -> None:
        _choice(given)


class WordVectors(Reader):
    """Word vectors: text with and without a header, binary, packed."""

    def make(self) -> None:
        import gzip

        lines = "".join(f"{w} {i} {i * 0.5} -1e-3\n" for i, w in enumerate(("sky", "red", "a b")))
        (self.place / "glove.txt").write_text(lines)
        (self.place / "w2v.txt").write_text("3 3\n" + lines)
        values = np.arange(3, dtype="<f4").tobytes()
        (self.place / "w2v.bin").write_bytes(b"2 3\nsky " + values + b"\nred " + values)
        (self.place / "glove.gz").write_bytes(gzip.compress(lines.encode()))

    def change(self, place: Path, rng: Rng) -> Path:
        files = sorted(self.place.iterdir())
        one, other = (files[int(i)] for i in rng.integers(0, len(files), 2))
        path = place / one.name
        if one.suffix == ".txt" and rng.random() < 0.6:
            path.write_bytes(changed_text(one.read_text(encoding="utf-8"), rng))
        else:
            path.write_bytes(changed_bytes(one.read_bytes(), rng, other.read_bytes()))
        return path

    def read(self, given: Path) -> None:
        read_words(given, {"sky", "red", "a b"})


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


class Weights(Reader):
    """Files of weights."""

    def make(self) -> None:
        state = _net().state_dict()
        save_file(state, self.place / "a.safetensors")
        torch.save(state, self.place / "a.pth")
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
                   self.place / "b.pth")  # fmt: skip
        torch.save(state, self.place / "old.pth", _use_new_zipfile_serialization=False)

    def change(self, place: Path, rng: Rng) -> Path:
        files = sorted(self.place.iterdir())
        one, other = (files[int(i)] for i in rng.integers(0, len(files), 2))
        path = place / one.name
        content = one.read_bytes()
        if one.suffix == ".safetensors" and rng.random() < 0.6:
            length = int.from_bytes(content[:8], "little")
            head = changed_text(content[8 : 8 + length].decode(), rng)
            content = len(head).to_bytes(8, "little") + head + content[8 + length :]
        else:
            content = changed_bytes(content, rng, other.read_bytes())
        path.write_bytes(content)
        return path

    def read(self, given: Path) -> None:
        load_weights(_net(), given)


class Hdf5File(Reader):
    """An HDF5 file: bytes changed under the seal, with a new seal, or what is in it replaced."""

    def change(self, place: Path, rng: Rng) -> Path:
        path = self.target(self.copied(place), rng)
        way = rng.random()
        if way < 0.35:
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        elif way < 0.5:
            content = path.read_bytes()
            path.write_bytes(content[:PAGE] + changed_bytes(content[PAGE:], rng))
            seal_again(path)
        else:
            with h5py.File(path, "r+", locking=False) as file:
                for _ in range(rng.integers(1, 3)):
                    replace(file, rng)
            seal_again(path)
        return path

    @abstractmethod
    def target(self, root: Path, rng: Rng) -> Path:
        """The file to change in a copy."""


class VectorFiles(Hdf5File):
    """Files of concept vectors."""

    def make(self) -> None:
        names = pd.DataFrame({"name": list("abcde"), "category": "x", "p": [0.1, np.nan, 1, 2, 3]})
        rows = np.random.default_rng(0).normal(size=(5, 8))
        sketch = Sketch(rows[:1, None, :, None, None].repeat(2, 1).astype("f4"), "float32", ("x",))
        self.space = space = Space("m", "0" * 64, "l", 8, "binary@0.005", sketch)
        ConceptVectors(
            rows, np.zeros(5), names, "segmentation", space, np.ones(8, np.float32), {"seed": 1}
        ).save(self.place / "v.h5")

    def target(self, root: Path, rng: Rng) -> Path:
        del rng
        return root / "v.h5"

    def read(self, given: Path) -> None:
        found = ConceptVectors.load(given)
        found.nearest(found.names[0], k=2)
        found.space.require_equal(self.space)
        read_spaces([given])


class CacheFiles(Hdf5File):
    """Files of activations, and what is derived from them."""

    def make(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
        model = cl.load_model(network, size=16)
        data = cl.load_data("scenes:n=10")
        acts = cl.extract(model, data, ["0"], self.place, batch_size=4)["0"]
        acts.active(0.05)

    def target(self, root: Path, rng: Rng) -> Path:
        files = sorted(root.rglob("*.h5"))
        return files[int(rng.integers(len(files)))]

    def read(self, given: Path) -> None:
        main = given.with_name(given.name.replace(".derived", ""))
        acts = cl.Activations(main)
        acts.active(0.05)
        acts.array.sum(), acts.pooled.sum(), acts.names
        acts.thresholds(0.05)
        acts.space(), acts.input_size, acts.data_fingerprint, acts.splits
        read_spaces([given])


class Specs(Reader):
    """Specifications of models and data."""

    sound = (
        "scenes", "scenes:n=100,seed=0", "folder:/tmp,colors=true", "broden:/tmp", "pictures:/tmp",
        "builtin:scenenet", "torchvision:resnet18", "file:net.py:make", "timm:resnet18",
    )  # fmt: skip

    def make(self) -> None:
        """Texts need no files."""

    def change(self, place: Path, rng: Rng) -> str:
        del place
        text = changed_text(str(rng.choice(self.sound)), rng).decode("utf-8", "surrogateescape")
        return text.replace("@", "")  # what stands behind it may be downloaded

    def read(self, given: str) -> None:
        for load in (cl.load_data, cl.load_model):
            try:
                load(given)
            except cl.ConceptlabError:
                continue


class Factories(Reader):
    """What a network's own module says of itself."""

    sound = (
        "size = 32", "mean = (0.5, 0.5, 0.5)", "std = [0.2, 0.2, 0.2]", "resize = 40",
        "class_names = ['a', 'b']", "name = 'mine'",
    )  # fmt: skip
    odd = (
        "None", "-1", "0", "10**30", "float('nan')", "float('inf')", "'x'", "b'x'", "[]", "{}",
        "[[1]]", "object()", "lambda: 3", "('a',) * 10**5", "[None, 1]", "{'a': 1}", "1e-320",
        "'\\ud800'", "10**5000", "(1, 2)", "range(3)", "type", "iter([1, 2])", "True", "...",
        "__import__('numpy').ones(3)", "__import__('torch').ones(3)", "{1, 2, 3}", "'a' * 10**6",
    )  # fmt: skip

    def make(self) -> None:
        """Written anew for each input."""

    def change(self, place: Path, rng: Rng) -> str:
        lines = []
        for sound in self.sound:
            name = sound.partition(" =")[0]
            if rng.random() < 0.5:
                lines.append(f"{name} = {rng.choice(np.array(self.odd, dtype=object))}")
        body = "\n".join(f"    try: module.{line}\n    except Exception: pass" for line in lines)
        text = "from torch import nn\ndef make():\n    module = nn.Sequential(nn.Conv2d(3, 2, 3))\n"
        text += f"{body}\n    return module\n"
        (place / "net.py").write_text(text, encoding="utf-8")
        return f"file:{place / 'net.py'}:make"

    def read(self, given: str) -> None:
        cl.load_model(given)


READERS: list[type[Reader]] = [
    Pictures, LabelMaps, Classes, Scenes, Broden, StudyFiles, VectorFiles, CacheFiles, Weights,
    WordVectors, SynsetTables, UnitTables, Specs, Factories,
]  # fmt: skip
