"""Files of weights: safetensors that say whose they are, and whether they are still what was written."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document
from search_spaces.nodes import DocumentError
from search_spaces.seal import BLANK, FILE_SEAL, is_broken_bytes, seal_bytes

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_SCHEMA = "nas.weights/1"


class WeightsError(ValueError):
    """A file of weights that is not there, is damaged, or does not say whose it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Trained values of one network, and which network that is."""

    arch: Architecture
    num_classes: int
    resolution: int
    """Pixels that tables of relative attention are made for."""
    tensors: "Mapping[str, Tensor]" = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def network_metadata(
    arch: Architecture, *, num_classes: int, resolution: int, provenance: Mapping[str, Any]
) -> dict[str, str]:
    """What a file of weights says of itself: text under each name, the checksum still blank."""
    return {
        "schema": WEIGHTS_SCHEMA,
        "digest": arch.digest,
        "architecture": json.dumps(arch.to_document(), separators=(",", ":")),
        "num_classes": str(num_classes),
        "resolution": str(resolution),
        "provenance": json.dumps(provenance, separators=(",", ":"), allow_nan=False),
        FILE_SEAL: BLANK,
    }


def save_weights(
    tensors: "Mapping[str, Tensor]",
    path: Path,
    *,
    arch: Architecture,
    num_classes: int,
    resolution: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a network's state as safetensors, whole or not at all; returns name, sha256 and size.

    The metadata hold the architecture, its digest, the number of classes, the resolution that the network was
    built for (default: the architecture's), `provenance`, and the SHA-256 of the file itself.
    """
    from safetensors.torch import save

    metadata = network_metadata(
        arch,
        num_classes=num_classes,
        resolution=resolution or arch.eval_resolution,
        provenance=provenance or {},
    )
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = seal_bytes(_with_header_in_order(save(plain, metadata), metadata))
    write_whole(path, content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _with_header_in_order(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """The same file with its metadata in our order: the library's own changes from one call to the next."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    text = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file durably, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_weights(path: Path, arch: Architecture | None = None) -> Weights:
    """The weights in a file that `save_weights` wrote; of any safetensors where `arch` says whose they are.

    Raises:
        WeightsError: unreadable, not safetensors, changed since, without its network, or of another.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    metadata = read_metadata(content, path)
    is_broken = is_broken_bytes(content)
    if is_broken or (is_broken is None and metadata.get("schema") == WEIGHTS_SCHEMA):
        raise WeightsError(f"{path}: it is not what was written (its SHA-256 differs); take it anew")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a file of safetensors ({error})") from error
    if metadata.get("schema") == WEIGHTS_SCHEMA:
        named, num_classes, resolution, provenance = read_network(metadata, path)
        if arch is not None and arch.digest != named.digest:
            raise WeightsError(
                f"{path}: weights of {named.digest[:12]}, and not of the architecture, {arch.digest[:12]}"
            )
    elif arch is not None and "classifier.bias" in tensors:
        named, num_classes, provenance = arch, len(tensors["classifier.bias"]), {}
        resolution = arch.eval_resolution
    else:
        raise WeightsError(
            f"{path}: it does not say of which network; give the architecture, and it as --weights"
        )
    _check_tensors(tensors, named, num_classes=num_classes, resolution=resolution, place=path)
    return Weights(
        arch=named, num_classes=num_classes, resolution=resolution, tensors=tensors, provenance=provenance
    )


def _check_tensors(
    tensors: "Mapping[str, Tensor]", arch: Architecture, *, num_classes: int, resolution: int, place: Path
) -> None:
    """Refuse tensors that are not this network's: each name, each shape."""
    import torch

    from search_spaces.network import build

    with torch.device("meta"):
        expected = build(arch, num_classes, resolution=resolution).state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        has, needs = (each[name].shape if name in each else None for each in (tensors, expected))
        if has != needs:
            raise WeightsError(
                f"{place}: tensor {name!r} is {'missing' if has is None else list(has)}, and in the network"
                f" {arch.digest[:12]} it is {'none' if needs is None else list(needs)}; give its own weights"
            )


def untrained_weights(arch: Architecture, *, num_classes: int, resolution: int) -> Weights:
    """What initialisation with seed 0 gives; torch's global generator is left as it was."""
    import torch

    from search_spaces.network import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = build(arch, num_classes, resolution=resolution).state_dict()
    return Weights(
        arch=arch,
        num_classes=num_classes,
        resolution=resolution,
        tensors=tensors,
        provenance={"untrained": "initialised with seed 0"},
    )


def read_network(
    metadata: Mapping[str, str], place: Path
) -> tuple[Architecture, int, int, Mapping[str, Any]]:
    """The architecture, number of classes, resolution and provenance that metadata name.

    Raises:
        WeightsError: incomplete, no architecture, or another than its digest.
    """
    try:
        arch = architecture_from_document(json.loads(metadata["architecture"]))
        num_classes, resolution = int(metadata["num_classes"]), int(metadata["resolution"])
        provenance = json.loads(metadata.get("provenance", "{}"))
    except KeyError as error:
        raise WeightsError(f"{place}: its metadata lack {error}") from error
    except (ValueError, DocumentError, RecursionError) as error:
        raise WeightsError(f"{place}: its metadata cannot be read ({str(error).splitlines()[0]})") from error
    if arch.digest != metadata.get("digest"):
        raise WeightsError(f"{place}: its architecture is {arch.digest[:12]}, not what its digest says")
    return arch, num_classes, resolution, provenance


def read_metadata(content: bytes, place: Path) -> dict[str, str]:
    """The metadata of a file of safetensors; empty where it has none.

    Raises:
        WeightsError: not such a file.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 + length:
            raise ValueError("it is cut short")
        header = json.loads(content[8 : 8 + length])
        metadata = header.get("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata are text")
    except (ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{place}: not a file of safetensors ({error})") from error
    return dict(metadata)
