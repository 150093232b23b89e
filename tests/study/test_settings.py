"""Settings of a study."""

import pytest

from conceptlab.models import load_model
from conceptlab.study.settings import ModelSettings


@pytest.mark.parametrize("spec", ["builtin:scenenet", "torchvision:squeezenet1_0", "file"])
def test_a_title_is_the_model_s_own_name(spec, tmp_path):
    if spec == "file":
        (tmp_path / "net.py").write_text(
            "from torch import nn\nmake = lambda: nn.Conv2d(3, 2, 1)\n"
        )
        spec = f"file:{tmp_path / 'net.py'}:make"
    given = {} if not spec.startswith("file") else {"mean": (0, 0, 0), "std": (1, 1, 1), "size": 8}
    assert ModelSettings(spec, ("x",)).title == load_model(spec, untrained=False, **given).name
