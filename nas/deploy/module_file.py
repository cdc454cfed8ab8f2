"""A network as a Python module that needs PyTorch and nothing of ours: `build()`, `load(weights)`."""

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from nas.deploy.initial_values import Rule, initial_values
from nas.deploy.module_tree import module_tree
from nas.deploy.source_code import SourceCode, plain_literal
from search_spaces.architecture import Architecture
from search_spaces.network import build
from search_spaces.seal import seal

MODULE_SCHEMA = "nas.module/1"

_HEAD = '''"""{name}: a network for {num_classes} classes. Needs PyTorch 2.5 or later, and nothing else.

    network = build()  # freshly initialised, in training mode
    network = load("{name}.safetensors")  # trained, in evaluation mode

From images (B, {channels}, H, W), best of {resolution} pixels a side, to logits (B, {num_classes}).
{params:,} parameters. Written by training-aware-nas; `nas verify` says whether it is unchanged.
"""
'''

_BASE = '''class Part(nn.Module):
    """A module that is given what it is made of."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def start(module, **rules):
    """The module, its parameters set by in-place operations of tensors, one after another."""
    for name, operations in rules.items():
        _apply(getattr(module, name), operations)
    return module


def parameter(shape, operations):
    """A parameter that starts so."""
    return _apply(nn.Parameter(torch.empty(shape)), operations)


@torch.no_grad()
def _apply(tensor, operations):
    for operation, *arguments in operations:
        getattr(tensor, operation)(*arguments)
    return tensor'''

_BUILD = '''def build():
    """The network, freshly initialised from torch's global generator."""
    return {expression}'''

_LOAD = '''def load(path):
    """The network with the weights in a file of safetensors, in evaluation mode.

    Raises:
        ValueError: the file is damaged, or of another network.
    """
    content = pathlib.Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header.pop("__metadata__", {}).get("nas", "{}"))
    if about.get("digest", DIGEST) != DIGEST:
        raise ValueError(f"{path}: weights of {about['digest'][:12]}; this network is {DIGEST[:12]}")
    seal = about.get("file_sha256", "none")
    blank = content.replace(seal.encode(), b"0" * 64, 1)
    if about and hashlib.sha256(blank).hexdigest() != seal:
        raise ValueError(f"{path}: it is not what was written, its SHA-256 differs")
    data = bytearray(content[8 + length :])
    network = build()
    network.load_state_dict({name: _tensor(data, entry) for name, entry in header.items()})
    return network.eval()


_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DTYPES |= {"I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}


def _tensor(data, entry):
    dtype, (start, end) = _DTYPES[entry["dtype"]], entry["data_offsets"]
    if start == end:
        return torch.empty(entry["shape"], dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=(end - start) // dtype.itemsize, offset=start).reshape(
        entry["shape"]
    )'''


def module_text(arch: Architecture, *, name: str, num_classes: int, resolution: int) -> str:
    """The module's source: the layers' own methods, and the network as one expression of constructors.

    `name` is an identifier; `resolution` is what tables of relative attention are made for. The text depends
    on the arguments alone.

    Raises:
        ExportError: a layer whose source cannot stand alone.
    """
    assert name.isidentifier()
    network, rules = network_with_rules(arch, num_classes=num_classes, resolution=resolution)
    code = SourceCode()

    @cache
    def buffers() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            return dict(build(arch, num_classes, resolution=resolution).named_buffers())

    call = module_tree(network, rules, code, lambda place: buffers()[place])
    head = _HEAD.format(
        name=name,
        num_classes=num_classes,
        channels=arch.input.channels,
        resolution=resolution,
        params=sum(parameter.numel() for parameter in network.parameters()),
    )
    imports = {"import hashlib", "import json", "import pathlib", "import torch"} | code.imports
    constants = [
        f'SCHEMA = "{MODULE_SCHEMA}"',
        f'DIGEST = "{arch.digest}"',
        f"NUM_CLASSES = {num_classes}",
        f"RESOLUTION = {resolution}",
        f"ARCHITECTURE = {_document_code(arch.to_document())}",
    ]
    built = _BUILD.format(expression=call.text(4))
    parts = [
        head
        + "\nfrom __future__ import annotations\n\n"
        + _import_block(imports)
        + "\n\n"
        + "\n".join(constants),
        _BASE,
        *code.definitions.values(),
        built,
        _LOAD,
    ]
    text = "\n\n\n".join(parts) + "\n"
    ast.parse(text)
    return seal(text)


def network_with_rules(
    arch: Architecture, *, num_classes: int, resolution: int
) -> tuple[nn.Module, dict[str, Rule]]:
    """The network without memory for its weights, and what they start from."""
    return initial_values(lambda: build(arch, num_classes, resolution=resolution))


def _document_code(document: Mapping[str, Any]) -> str:
    """An architecture document as a literal: a line for each key and each stage."""
    lines = []
    for key, value in document.items():
        code = plain_literal(value)
        if key == "stages":
            code = "[\n" + "".join(f"        {plain_literal(stage)},\n" for stage in value) + "    ]"
        lines.append(f'    "{key}": {code},\n')
    return "{\n" + "".join(lines) + "}"


def _import_block(imports: set[str]) -> str:
    """Plain imports first, then what comes from modules, those from one module on one line."""
    plain = sorted(each for each in imports if each.startswith("import "))
    taken: dict[str, set[str]] = {"torch": {"nn"}}
    for each in imports:
        if each.startswith("from "):
            module, _, name = each.removeprefix("from ").partition(" import ")
            taken.setdefault(module, set()).add(name)
    return "\n".join([*plain, *(f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(taken.items()))])
