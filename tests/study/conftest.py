"""A small study that several files of tests look at."""

import pytest

from conceptlab.study import settings
from conceptlab.study.run import run_study


@pytest.fixture(scope="session")
def studied(tmp_path_factory):
    """The run folder of a small study of two networks; tests add to it and change nothing."""
    place = tmp_path_factory.mktemp("studied")
    study = settings.Study(
        settings.DataSettings("scenes:n=60"),
        tuple(
            settings.ModelSettings(f"builtin:{name}", layers, name, name.removesuffix("-second"))
            for name, layers in (
                ("scenenet", ("features.8", "features.17")), ("scenenet-second", ("features.17",)),
                ("sceneres", ("stages.2",)),
            )
        ),
        dissect=settings.DissectSettings(permutations=0),
        segment=settings.SegmentSettings(sizes=(2,), shuffle_control=False),
        classify=settings.ClassifySettings(sizes=(2,), shuffle_control=False),
        resample=settings.ResampleSettings(draws=3),
        compare=settings.CompareSettings(
            untrained=False, draws=20, arithmetic=("grass - green", "sky - blue")
        ),
        tcav=settings.TcavSettings(
            classes=("street", "kitchen"), images=6, random=6, examples=10, redraws=2, erase=2
        ),
        look=settings.LookSettings(units=2, count=3, fields=1, steps=4, exemplars=16),
        atlas=settings.AtlasSettings(
            enabled=True, classes=("street",), method="tsne", per_image=3, grids=(3, 6),
            least=2,
        ),
    )  # fmt: skip
    run_study(study, place / "run", cache=place / "cache")
    return place / "run"
