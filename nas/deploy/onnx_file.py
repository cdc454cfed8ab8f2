"""A network with its weights as an ONNX file, checked against PyTorch before anybody sees it."""

# Shapes: B batch, C channels, H height, W width, K classes.

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ExportError
from proxies.onnx_packages import require_onnx
from proxies.weights import ENTRY, Weights, described, write_whole
from search_spaces.seal import seal_bytes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from search_spaces.network import Network

TOLERANCE = 1e-5
"""Largest difference of a logit from PyTorch's, as a part of the largest logit or of 1 if that is larger."""
ROUNDINGS = 4.0
"""As many times what rounding does to the logits are allowed instead: some untrained networks amplify it a
million times, and two right programs then differ by as much as either does from the truth."""
HALF_UNIT = 2.0**-24
MAX_BYTES = 2_000_000_000
"""Of the weights: a protocol buffer holds 2 GiB at most."""
BATCHES = (1, 3)


def write_onnx(weights: Weights, path: Path) -> float:
    """Write the network in evaluation mode, for any number of images of the weights' resolution.

    Input `images` (B, C, H, W), output `logits` (B, K), fp32. Returns the largest difference of a logit from
    PyTorch's on random images, which ONNX Runtime computed from the very bytes that are written.

    Raises:
        OnnxMissingError: the packages of the extra `export` are not installed.
        ExportError: too large for one file, or ONNX Runtime computes something else.
        OSError: the file cannot be written.
    """
    require_onnx()
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.tensors.values())
    if size > MAX_BYTES:
        raise ExportError(
            f"{path.name}: {size:,} bytes of weights are too many for one ONNX file (at most {MAX_BYTES:,});"
            " export --format torch"
        )
    network = loaded(weights)
    content = _content(network, weights)
    difference = _agreement(content, network, weights, path)[0]
    write_whole(path, content)
    return difference


def read_onnx(content: bytes, place: Path) -> "tuple[dict[str, Any] | None, dict[str, Tensor]]":
    """What an ONNX model says of itself, and its initialisers by name.

    Raises:
        ExportError: no valid ONNX model.
    """
    import onnx
    import torch
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
        said = next((each.value for each in model.metadata_props if each.key == ENTRY), "null")
        about = json.loads(said)
    except (DecodeError, onnx.checker.ValidationError, ValueError, RecursionError) as error:
        raise ExportError(f"{place}: no valid ONNX model ({str(error).splitlines()[0]})") from error
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    return about, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def agreement(content: bytes, weights: Weights, place: Path) -> tuple[float, float]:
    """The largest difference between logits of ONNX Runtime and of the network with the model's own
    initialisers, and the largest logit.

    Raises:
        ExportError: they differ, or the initialisers are not the network's.
    """
    import torch

    from search_spaces.network import build

    with torch.device("meta"):
        expected = build(weights.arch, weights.num_classes, resolution=weights.resolution).state_dict()
    own = {name: tensor for name, tensor in weights.tensors.items() if name in expected}
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):  # counts steps of training, which no inference reads
            own.setdefault(name, torch.zeros((), dtype=torch.int64))
        elif name not in own or own[name].shape != tensor.shape:
            raise ExportError(f"{place}: {name} of the network is not among its initialisers in this shape")
    found = replace(weights, tensors=own)
    return _agreement(content, loaded(found), found, place)


def loaded(weights: Weights) -> "Network":
    """The network with its weights, in evaluation mode, on the CPU."""
    import torch

    from search_spaces.network import build

    with torch.device("meta"):
        network = build(weights.arch, weights.num_classes, resolution=weights.resolution)
    network.load_state_dict(dict(weights.tensors), assign=True)
    return network.eval()


def images_for(weights: Weights, batch: int) -> "Tensor":
    """Random images, always the same."""
    import torch

    side = weights.resolution
    generator = torch.Generator().manual_seed(batch)
    return torch.randn((batch, weights.arch.input.channels, side, side), generator=generator)


def run_onnx(content: bytes, images_BCHW: "Tensor") -> "np.ndarray[Any, Any]":
    """The logits that ONNX Runtime computes on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (logits_BK,) = session.run(None, {"images": images_BCHW.numpy()})
    return logits_BK  # type: ignore[no-any-return]


def _content(network: "Network", weights: Weights) -> bytes:
    """The model with what it says of itself, sealed; without the exporter's traces of our source files."""
    import onnx

    from proxies.onnx_step import exported

    model = onnx.load_model_from_string(exported(network, images_for(weights, 2), any_batch=True))
    for part in (model.graph, *model.functions):
        for node in part.node:
            del node.metadata_props[:]
            node.ClearField("doc_string")
    about = described(
        weights.arch, num_classes=weights.num_classes, resolution=weights.resolution, more=weights.more
    )
    onnx.helper.set_model_props(model, about)
    return seal_bytes(model.SerializeToString(deterministic=True))


def _agreement(content: bytes, network: "Network", weights: Weights, place: Path) -> tuple[float, float]:
    """The largest difference of a logit, and the largest logit.

    Raises:
        ExportError: they differ by more than `TOLERANCE`, and by more than `ROUNDINGS` times what rounding
            does to them.
    """
    import torch

    difference = scale = rounding = 0.0
    for batch in BATCHES:
        images_BCHW = images_for(weights, batch)
        with torch.no_grad():
            expected_BK = network(images_BCHW)
        found_BK = torch.from_numpy(run_onnx(content, images_BCHW))
        difference = max(difference, float((found_BK - expected_BK).abs().max()))
        rounding = max(rounding, rounding_of(network, images_BCHW, expected_BK))
        scale = max(scale, float(expected_BK.abs().max()))
    if not difference <= max(TOLERANCE * max(1.0, scale), ROUNDINGS * rounding):
        raise ExportError(
            f"{place}: ONNX Runtime's logits differ from PyTorch's by {difference:.2g}, the largest being"
            f" {scale:.2g} and what rounding does to them {rounding:.2g};"
            " do not use the file, and please report it"
        )
    return difference, scale


def rounding_of(network: "Network", images_BCHW: "Tensor", logits_BK: "Tensor") -> float:
    """What rounding to single precision does to a logit, at most.

    The difference of `logits_BK`, which single precision gave, from double precision's; or what weights do
    that are off by up to half a unit in the last place of single precision, if that is more.
    """
    import torch

    exact = deepcopy(network).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        exact_BK = exact(images_BCHW.double())
        largest = float((logits_BK - exact_BK).abs().max())
        for _ in range(2):
            for tensor in exact.parameters():
                noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.mul_(1.0 + HALF_UNIT * (2.0 * noise - 1.0))
            largest = max(largest, float((exact(images_BCHW.double()) - exact_BK).abs().max()))
    return largest
