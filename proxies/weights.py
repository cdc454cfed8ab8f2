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
from search_spaces.seal import BLANK, FILE_SEAL, is_broken_bytes, seal_bytes

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_SCHEMA = "nas.weights/1"
ENTRY = "nas"
"""The one entry of metadata: safetensors writes several in any order, and equal weights give equal files."""
_OWN = frozenset({"schema", "digest", "num_classes", "resolution", "architecture", FILE_SEAL})


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
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else its file says: how images are prepared, metrics, where it comes from."""


def described(
    arch: Architecture, *, num_classes: int, resolution: int, more: Mapping[str, Any]
) -> dict[str, str]:
    """What a file of a network says of itself: one entry of metadata, JSON, the checksum still blank."""
    about = {
        "schema": WEIGHTS_SCHEMA,
        "digest": arch.digest,
        "num_classes": num_classes,
        "resolution": resolution,
        **more,
        "architecture": arch.to_document(),
        FILE_SEAL: BLANK,
    }
    return {ENTRY: json.dumps(about, separators=(",", ":"), allow_nan=False)}


def save_weights(
    tensors: "Mapping[str, Tensor]",
    path: Path,
    *,
    arch: Architecture,
    num_classes: int,
    resolution: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a network's state as safetensors, whole or not at all; returns name, sha256 and size.

    The entry `nas` of the header is JSON: the architecture, its digest, the number of classes, the resolution
    that the network was built for (default: the architecture's), `more`, and the SHA-256 of the file itself.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    metadata = described(
        arch, num_classes=num_classes, resolution=resolution or arch.eval_resolution, more=more or {}
    )
    # One layout and no shared memory: what safetensors stores.
    plain = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    content = seal_bytes(save(plain, metadata))
    write_whole(path, content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


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
    about = read_about(content, path)
    is_broken = is_broken_bytes(content)
    if is_broken or (is_broken is None and about is not None):
        raise WeightsError(f"{path}: it is not what was written (its SHA-256 differs); take it anew")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a file of safetensors ({error})") from error
    if about is not None:
        named, num_classes, resolution, more = read_network(about, path)
        if arch is not None and arch.digest != named.digest:
            raise WeightsError(
                f"{path}: weights of {named.digest[:12]}, and not of the architecture, {arch.digest[:12]}"
            )
    elif arch is not None and "classifier.bias" in tensors:
        named, num_classes, more = arch, len(tensors["classifier.bias"]), {}
        resolution = arch.eval_resolution
    else:
        raise WeightsError(
            f"{path}: it does not say of which network; give the architecture, and it as --weights"
        )
    _check_tensors(tensors, named, num_classes=num_classes, resolution=resolution, place=path)
    return Weights(arch=named, num_classes=num_classes, resolution=resolution, tensors=tensors, more=more)


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
        more={"untrained": "initialised with seed 0"},
    )


def read_network(about: Mapping[str, Any], place: Path) -> tuple[Architecture, int, int, Mapping[str, Any]]:
    """The architecture, number of classes, resolution and further entries that a file says of itself.

    Raises:
        WeightsError: incomplete, no architecture, or another than its digest.
    """
    try:
        arch = architecture_from_document(about["architecture"])
        num_classes, resolution = about["num_classes"], about["resolution"]
    except KeyError as error:
        raise WeightsError(f"{place}: what it says of itself lacks {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{place}: its architecture cannot be read ({reason})") from error
    if not all(type(number) is int and 0 < number < 2**31 for number in (num_classes, resolution)):
        raise WeightsError(f"{place}: {num_classes!r} classes at {resolution!r} pixels are not possible")
    if arch.digest != about.get("digest"):
        raise WeightsError(f"{place}: its architecture is {arch.digest[:12]}, not what its digest says")
    return arch, num_classes, resolution, {key: value for key, value in about.items() if key not in _OWN}


def read_about(content: bytes, place: Path) -> dict[str, Any] | None:
    """What a file of safetensors says of itself; None where another program wrote it.

    Raises:
        WeightsError: not such a file, or of another schema.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 + length:
            raise ValueError("it is cut short")
        text = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(ENTRY)
        about = None if text is None else json.loads(text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{place}: not a file of safetensors ({error})") from error
    if about is not None and (not isinstance(about, dict) or about.get("schema") != WEIGHTS_SCHEMA):
        raise WeightsError(f"{place}: it is not of schema {WEIGHTS_SCHEMA}")
    return about
