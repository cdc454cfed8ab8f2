"""Whether a file that left is what was written, and is still the network that it says. Runs nothing in it."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import ExportError
from proxies.weights import ENTRY, Weights, WeightsError, read_network, read_weights
from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document, load_architecture, read_yaml
from search_spaces.seal import is_broken, is_broken_bytes, is_sealed

CONSTANTS = frozenset({"SCHEMA", "DIGEST", "NUM_CLASSES", "RESOLUTION", "ARCHITECTURE"})


class VerificationError(ExportError):
    """A file that is not what was written, or not the network that it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A file that holds: what it is, of which network, whether a checksum said so, and what else was seen."""

    file: Path
    kind: str
    digest: str
    has_checksum: bool
    round_trip: str


def verify(path: str | Path) -> Verified:
    """Check a file that `nas export` wrote: its checksum, and that it reads back to the network it names.

        .yaml         read, written out and read again: the same digest, and that of its provenance
        .safetensors  its tensors are those of the architecture in its header, name by name and shape by shape
        .py           what it says of itself is one architecture, and this version writes the same text for it
        .onnx         its initialisers, put into the network in its metadata, give ONNX Runtime's logits

    Raises:
        VerificationError: the file is damaged, or does not hold what it says; or it is none of these.
        DocumentError, WeightsError: it cannot be read.
        OnnxMissingError: an ONNX file, without the extra `export`.
    """
    file = Path(path)
    check = _CHECKS.get(file.suffix)
    if check is None:
        raise VerificationError(f"{file}: its ending {file.suffix!r} is none of {', '.join(_CHECKS)}")
    return check(file)


def _verify_yaml(file: Path) -> Verified:
    arch = load_architecture(file)  # refuses a broken seal
    text = file.read_text(encoding="utf-8")
    if _is_continued(text):
        raise VerificationError(f"{file}: something was added below its checksum; export it anew")
    document = read_yaml(file)
    named = (document.get("provenance") or {}).get("digest", arch.digest)
    if named != arch.digest:
        raise VerificationError(f"{file}: provenance.digest is {named}, and the network is {arch.digest}")
    again = architecture_from_document(arch.to_document())
    if again.digest != arch.digest:
        raise VerificationError(f"{file}: written out and read again it is another network; please report it")
    return Verified(
        file=file,
        kind="architecture",
        digest=arch.digest,
        has_checksum=is_sealed(text),
        round_trip="same digest",
    )


def _verify_weights(file: Path) -> Verified:
    weights = read_weights(file)
    return Verified(
        file=file,
        kind="weights",
        digest=weights.arch.digest,
        has_checksum=True,
        round_trip=f"{len(weights.tensors)} tensors of the network",
    )


def _verify_module(file: Path) -> Verified:
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except OSError as error:
        raise VerificationError(f"{file}: {error.strerror}") from error
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise VerificationError(f"{file}: it is no Python module ({type(error).__name__})") from error
    if is_broken(text) or _is_continued(text):
        raise VerificationError(f"{file}: it is not what was written (its SHA-256 differs); export it anew")
    said = _constants(tree, file)
    if "DIGEST" not in said:
        raise VerificationError(f"{file}: it has no DIGEST, so nas export did not write it")
    if "ARCHITECTURE" not in said:
        round_trip = "none: timm's strings"
    else:
        arch = _architecture(said, file)
        round_trip = "same text" if _text(arch, said, file, tree) == text else "not what this version writes"
    return Verified(
        file=file,
        kind="module",
        digest=str(said["DIGEST"]),
        has_checksum=is_sealed(text),
        round_trip=round_trip,
    )


def _is_continued(text: str) -> bool:
    """Whether something stands after the line that seals all above."""
    return any(map(is_sealed, text.splitlines())) and not is_sealed(text)


def _constants(tree: ast.Module, file: Path) -> dict[str, Any]:
    """The constants that a module states, read without running it."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in CONSTANTS:
                try:
                    found[name] = ast.literal_eval(node.value)
                except (ValueError, TypeError, RecursionError, MemoryError) as error:
                    raise VerificationError(f"{file}:{node.lineno}: {name} is no plain value") from error
    return found


def _architecture(said: dict[str, Any], file: Path) -> Architecture:
    try:
        arch = architecture_from_document(said["ARCHITECTURE"])
    except (ValueError, TypeError, AttributeError) as error:
        raise VerificationError(f"{file}: ARCHITECTURE: {str(error).splitlines()[0]}") from error
    if arch.digest != said["DIGEST"]:
        raise VerificationError(f"{file}: DIGEST is {said['DIGEST']}, and ARCHITECTURE is {arch.digest}")
    return arch


def _text(arch: Architecture, said: dict[str, Any], file: Path, tree: ast.Module) -> str:
    """What this version writes for the network that the module names."""
    from nas.deploy.module_file import module_text

    name = (ast.get_docstring(tree) or "").partition(":")[0]
    sizes = said.get("NUM_CLASSES"), said.get("RESOLUTION")
    if not name.isidentifier() or not all(type(size) is int and 0 < size < 2**31 for size in sizes):
        raise VerificationError(f"{file}: its name, NUM_CLASSES or RESOLUTION is missing or impossible")
    return module_text(arch, name=name, num_classes=said["NUM_CLASSES"], resolution=said["RESOLUTION"])


def _verify_onnx(file: Path) -> Verified:
    from proxies.onnx_packages import require_onnx

    require_onnx()
    from nas.deploy.onnx_file import agreement, read_onnx

    try:
        content = file.read_bytes()
    except OSError as error:
        raise VerificationError(f"{file}: {error.strerror}") from error
    if is_broken_bytes(content) is not False:
        raise VerificationError(f"{file}: it is not what was written (its SHA-256 differs); export it anew")
    about, tensors = read_onnx(content, file)
    if about is None:
        raise VerificationError(f"{file}: its metadata have no {ENTRY!r}, so nas export did not write it")
    arch, num_classes, resolution, more = read_network(about, file)
    weights = Weights(arch=arch, num_classes=num_classes, resolution=resolution, tensors=tensors, more=more)
    difference, scale = agreement(content, weights, file)
    return Verified(
        file=file,
        kind="onnx",
        digest=arch.digest,
        has_checksum=True,
        round_trip=f"logits within {difference:.1g} of PyTorch's, the largest of {scale:.2g}",
    )


_CHECKS: dict[str, Callable[[Path], Verified]] = {
    ".yaml": _verify_yaml,
    ".yml": _verify_yaml,
    ".safetensors": _verify_weights,
    ".py": _verify_module,
    ".onnx": _verify_onnx,
}

__all__ = ["VerificationError", "Verified", "WeightsError", "verify"]
