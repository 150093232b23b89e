"""The space that vectors live in: the units of one layer of one network, and their form.

Vectors of unequal spaces are never compared coordinate by coordinate, and vectors are only applied
to the network that they were learned on. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from conceptlab.errors import SpaceError
from conceptlab.hdf5 import FormatError, attribute, dataset, parsed
from conceptlab.keys import canonical, differences
from conceptlab.numerics.sketch import Sketch

if TYPE_CHECKING:
    import h5py

VECTORS, ACTIVATIONS = "vectors", "activations"
#: What to do about vectors or activations of another network.
REMEDY = {VECTORS: "learn them on it", ACTIVATIONS: "extract them from it"}


class DoesSomething(Protocol):
    """What `Space.require_model` asks of a network (`conceptlab.models.ProbedModel` has it)."""

    @property
    def fingerprint(self) -> str:
        """Of what it is made of."""
        ...

    def sketch(self, layers: Sequence[str]) -> Mapping[str, Sketch]:
        """What it does at some layers."""
        ...


@dataclass(frozen=True)
class Space:
    """The coordinates of a vector: the units of one layer of one network, and their form.

    Args:
        model: the model's name, for people.
        weights: the model's fingerprint (weights, architecture, preprocessing).
        layer: name in `named_modules()`.
        units: K.
        inputs: 'raw', or 'binary@0.005' for activations thresholded at that tau.
        sketch: what the layer gives for a few fixed inputs; None where that is not known (vectors
            made by hand).
    """

    model: str
    weights: str
    layer: str
    units: int
    inputs: str
    sketch: Sketch | None = field(default=None, compare=False, repr=False)

    def require_equal(self, other: "Space") -> None:
        """Raise `SpaceError`, with the fields that differ, unless both spaces are one."""
        mine, theirs = dict(self.key()), dict(other.key())
        found = differences(mine, theirs) or self._behaviour(other.sketch)
        if found:
            raise SpaceError(
                "these vectors live in different spaces ("
                + "; ".join(found)
                + "): compare their similarity matrices instead"
            )

    def require_layer(self, other: "Space") -> None:
        """Raise `SpaceError` unless another space is of the same layer of the same network."""
        self._require_weights(other.weights, VECTORS)
        self._require_name(other.layer)
        found = self._behaviour(other.sketch)
        if found:
            raise SpaceError(f"these vectors belong to another {self.model} ({found[0]})")

    def require_model(
        self, model: DoesSomething, layer: str | None = None, of: str = VECTORS
    ) -> None:
        """Raise `SpaceError` unless this is a space of that network, and of the layer if named.

        The network's weights are read anew, and where it is known what the layer gives for the
        fixed inputs, it has to give that again, within rounding: a pass of four pictures.

        Args:
            model: the network.
            layer: or none.
            of: what lives in this space, for the error: vectors, or activations.
        """
        self._require_weights(model.fingerprint, of)
        if layer is not None:
            self._require_name(layer)
        if self.sketch is None:
            return
        found = self._behaviour(model.sketch([self.layer])[self.layer])
        if found:
            raise SpaceError(
                f"these {of} belong to another {self.model} than the model given, although "
                f"weights and description are the same ({found[0]}): a hook, an attribute or a "
                f"file that it reads may have changed; {REMEDY[of]}"
            )

    def _require_weights(self, fingerprint: str, of: str) -> None:
        if fingerprint != self.weights:
            raise SpaceError(
                f"these {of} belong to {self.model} ({self.weights[:8]}), not to the model "
                f"given ({fingerprint[:8]}): {REMEDY[of]}"
            )

    def _require_name(self, layer: str) -> None:
        if layer != self.layer:
            raise SpaceError(
                f"these vectors belong to layer {self.layer}, not to {layer}: learn them there"
            )

    def _behaviour(self, other: Sketch | None) -> list[str]:
        """How the layer of another network does something else, where both are known."""
        if self.sketch is None or other is None:
            return []
        found = self.sketch.difference(other)
        return [f"layer {self.layer} differs: {found}"] if found else []

    def key(self) -> dict[str, Any]:
        """What equal spaces have in common, as JSON values."""
        return {
            "weights": self.weights,
            "layer": self.layer,
            "units": self.units,
            "inputs": self.inputs,
        }


def write_space(file: "h5py.File", space: Space) -> None:
    """Write a space into an open HDF5 file, beside the vectors that live in it."""
    file.attrs["space"] = canonical({**space.key(), "model": space.model})
    if space.sketch is not None:
        _write_sketch(file, space.sketch)


def read_space(file: "h5py.File") -> Space:
    """The space that an open HDF5 file tells.

    Raises:
        FormatError: it tells none.
    """
    fields = parsed(attribute(file, "space"), "space")
    try:
        found = Space(**fields, sketch=_read_sketch(file))
    except TypeError as error:
        raise FormatError("its space lacks something") from error
    texts = (found.model, found.weights, found.layer, found.inputs)
    if not all(isinstance(value, str) for value in texts):
        raise FormatError("its space lacks something")
    if type(found.units) is not int or found.units < 0:
        raise FormatError("its space lacks its units")
    return found


def _write_sketch(file: "h5py.File", sketch: Sketch) -> None:
    data = file.create_dataset("sketch", data=sketch.values)
    data.attrs["dtype"] = sketch.dtype
    data.attrs["inputs"] = canonical({"names": sketch.inputs})


def _read_sketch(file: "h5py.File") -> Sketch | None:
    """What `_write_sketch` wrote; None of a file of before, or of vectors without."""
    if "sketch" not in file:
        return None
    place = dataset(file, "sketch", kinds="f", shape=(None, 2, None, None, None))
    inputs = parsed(attribute(place, "inputs"), "inputs of the sketch")
    return Sketch(place[()], str(attribute(place, "dtype")), tuple(inputs["names"]))
