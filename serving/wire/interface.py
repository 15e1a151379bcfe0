"""Interface of a model: the ports of its signatures, from export.json or from a server's metadata.

Commands find signatures by the kinds of their ports, not by name: a generator takes seeds and returns pictures.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Port(NamedTuple):
    """An input or output.

    kind: "picture", "mask", "condition", "number", "seed", "latent", "codes", "text" or "count".
    file: True for a picture or mask that is an encoded file. size: side in px of pictures of a fixed size. values: names
    of a condition's values, () if not known. optional: True for a condition or a text that may be unknown. default, low, high: of a
    number, None if not known. shape: of a row of a latent or of codes, () if not known.
    """

    kind: str
    file: bool = False
    size: int | None = None
    values: tuple[str, ...] = ()
    optional: bool = False
    default: float | None = None
    low: float | None = None
    high: float | None = None
    shape: tuple[int, ...] = ()


class Signature(NamedTuple):
    """Inputs and outputs by alias. files_of: the endpoint whose variant for files this is; None for other signatures."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    files_of: str | None = None

    def taking(self, *kinds: str) -> list[str]:
        """Aliases of the inputs of these kinds, in order."""
        return [alias for alias, port in self.inputs.items() if port.kind in kinds]

    def photos(self) -> list[str]:
        """Aliases of the input pictures and masks, the main photo first."""
        return sorted(self.taking("picture", "mask"), key=lambda alias: alias not in ("images", "image_bytes"))

    def giving(self, *kinds: str) -> list[str]:
        """Aliases of the outputs of these kinds, in order."""
        return [alias for alias, port in self.outputs.items() if port.kind in kinds]


Interface = dict[str, Signature]


def described(interface: Mapping) -> Interface:
    """The interface in export.json. Raises KeyError or TypeError if it is malformed."""
    return {
        name: Signature(_described(ends["inputs"]), _described(ends["outputs"]), ends.get("files_of"))
        for name, ends in interface.items()
    }


def inferred(signatures: Mapping) -> Interface:
    """The interface inferred from metadata, which has only types, shapes and aliases.

    `signatures` maps names to objects with `inputs` and `outputs` (alias -> object with `dtype` and `shape`) and `defaults`.
    """
    return {
        name: Signature(
            _inferred(signature.inputs, signature.defaults),
            _inferred(signature.outputs, {}),
            _endpoint(name) if _has_files(signature) else None,
        )
        for name, signature in signatures.items()
        if name != "serving_default"
    }


def generator(interface: Interface, *, files: bool = False) -> str | None:
    """The first signature that takes seeds and returns pictures, as files or as arrays; None if there is none."""
    for name, signature in interface.items():
        pictures = [signature.outputs[alias] for alias in signature.giving("picture")]
        if signature.taking("seed") and any(port.file == files for port in pictures):
            return name
    return None


def decoder(interface: Interface) -> str | None:
    """The first signature that takes points of a latent space and returns pictures as arrays; None if there is none."""
    for name, signature in interface.items():
        pictures = [signature.outputs[alias] for alias in signature.giving("picture")]
        if signature.taking("latent") and any(not port.file for port in pictures):
            return name
    return None


def encoder(interface: Interface) -> str | None:
    """The first signature that takes the files of pictures and returns points of a latent space; None if there is none."""
    for name, signature in interface.items():
        if signature.giving("latent") and any(signature.inputs[alias].file for alias in signature.photos()):
            return name
    return None


def for_files(interface: Interface, endpoint: str) -> str | None:
    """The variant of an endpoint that takes files; None if there is none."""
    return next((name for name, signature in interface.items() if signature.files_of == endpoint), None)


def _described(ports):
    known = set(Port._fields)
    return {
        alias: Port(**{key: _frozen(value) for key, value in port.items() if key in known})
        for alias, port in ports.items()
    }


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def _inferred(tensors, defaults):
    return {alias: _port(alias, tensor, defaults.get(alias)) for alias, tensor in tensors.items()}


def _port(alias, tensor, default):
    dtype, shape = getattr(tensor.dtype, "name", tensor.dtype), tensor.shape or ()
    if dtype == "string":
        if alias.endswith("_bytes"):
            return Port("mask" if alias in ("mask_bytes", "alpha_bytes") else "picture", file=True)
        return Port("text", optional=default is not None)
    if dtype == "uint8" and len(shape) == 4:
        return Port("mask" if shape[3] == 1 else "picture", size=shape[1])
    if len(shape) != 1:
        return Port("codes" if dtype.startswith("int") else "latent", shape=tuple(shape[1:]))
    if dtype.startswith("int"):
        return Port({"seed": "seed", "count": "count"}.get(alias, "condition"), optional=default is not None)
    usual = 1.0 if alias == "truncation" else None
    return Port("number", default=usual if default is None else float(default[0]))


def _has_files(signature):
    return any(alias.endswith("_bytes") for alias in (*signature.inputs, *signature.outputs))


def _endpoint(name):
    return name.removesuffix("_bytes").removesuffix("_png")
