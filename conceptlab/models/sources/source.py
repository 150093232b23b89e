"""What a source of models gives: the architecture, and how its pictures are prepared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from conceptlab.registry import Registry

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


State = dict[str, Tensor]
FitState = Callable[[State, nn.Module], State]


@dataclass(frozen=True)
class Built:
    """A network as its source makes it.

    Args:
        module: with the weights that the specification names, or random ones.
        name: short.
        size: pixels on a side of the input.
        resize: the shorter side before a centre crop, for `fit='crop'`.
        mean: per channel (3, 1 for a network of grey pictures, 4 for RGBA), of pictures in 0..1.
        std: per channel.
        class_names: of the outputs, if known.
        code: what else the network's function depends on.
        trained: False where the specification names no weights, so that they are random.
        training_only: beginnings of the names of weights that only training uses; a file of
            weights may hold them although the network does not.
        at_size: makes the network for another size of input, where its source knows how.
        fit_state: brings a file's weights to a network made for another size (position embeddings
            are interpolated), where its source knows how.
        interpolation: how pictures are resized, see `conceptlab.numerics.geometry`.
        uncropped: why `fit='crop'` is none of its own ways; empty where it is.
    """

    module: nn.Module
    name: str
    size: int = 224
    resize: int | None = None
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    class_names: Sequence[str] | None = None
    code: bytes = b""
    trained: bool = True
    training_only: tuple[str, ...] = ()
    at_size: Callable[[int], nn.Module] | None = None
    fit_state: FitState | None = None
    interpolation: str = "bilinear"
    uncropped: str = ""


#: By prefix: (the rest of the specification, bare: whether to leave the weights random since
#: others follow or none are wanted) -> network.
#: Before the name of its file: how the module of a `file:` model is called.
FILES = "_conceptlab_file_"
SOURCES: Registry[Callable[[str, bool], Built]] = Registry("model source")
