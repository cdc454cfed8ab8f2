"""One forward pass in ONNX Runtime on one CPU thread, as networks are deployed on small machines.

ParameterNet (Han et al. 2024, arXiv:2306.14525) reports this latency. Needs the extra `export`.
"""

# Shapes: B batch, C channels, H height, W width, K classes.

import contextlib
import io
import logging
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from proxies.onnx_packages import require_onnx
from proxies.protocols import Diverged
from proxies.records import TimingSettings

OPSET = 18


class OnnxStep:
    """A forward pass of the exported network by ONNX Runtime; calling it runs one to its end."""

    def __init__(
        self,
        network: nn.Module,
        settings: TimingSettings,
        *,
        device: torch.device,
        channels: int = 3,
        seed: int = 0,
    ) -> None:
        if device.type != "cpu":
            raise ValueError(f"ONNX Runtime is timed on the CPU, not on {device}")
        require_onnx()
        import onnxruntime

        shape = (settings.batch_size, channels, settings.resolution, settings.resolution)
        images_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            exported(network.eval(), images_BCHW), options, providers=["CPUExecutionProvider"]
        )
        self._feed = {self._session.get_inputs()[0].name: images_BCHW.numpy()}
        self._logits_BK: Any = None

    def __call__(self) -> None:
        """Run one pass."""
        (self._logits_BK,) = self._session.run(None, self._feed)

    def check_finite(self) -> None:
        """Look at the last pass.

        Raises:
            Diverged: an output is not a finite number.
        """
        if self._logits_BK is not None and not math.isfinite(float(abs(self._logits_BK).max())):
            raise Diverged("an output of a timed forward pass is not finite")


def exported(network: nn.Module, images_BCHW: torch.Tensor, *, any_batch: bool = False) -> bytes:
    """The network as an ONNX model from `images` to `logits`, for batches of exactly this shape; with
    `any_batch` for any number of images of this size, of which `images_BCHW` must then hold two or more.
    Such a model is not optimised: its initialisers are the network's parameters and statistics by name.
    """
    batch = ({0: torch.export.Dim("batch")},) if any_batch else None
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (images_BCHW,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=batch,
            verbose=False,
            optimize=not any_batch,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells its progress on stdout, which is the result's.

    Its progress bar would also make a semaphore for use between processes, and a worker that is ended in time
    never frees it.
    """
    with contextlib.suppress(ImportError):
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
