"""Weights as a file: safetensors that say which network they are of, and how its images are prepared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.training.checkpoints import CheckpointError, sha256_of
from nas.training.plan import TrainingPlan
from proxies.data.protocol import Splits
from proxies.weights import WEIGHTS_SCHEMA
from proxies.weights import save_weights as save_sealed
from results.errors import RunWriteError

if TYPE_CHECKING:
    from proxies.training_run import TrainingRun
    from search_spaces.network import Network


def save_weights(
    path: Path,
    run: "TrainingRun",
    plan: TrainingPlan,
    splits: Splits,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Write the network that is judged (the averaged one, where the recipe averages); returns the SHA-256.

    Keys are those of `nas.build(arch, num_classes).state_dict()`. The header's `nas` is JSON: architecture,
    classes, resolution in pixels, mean and deviation by channel (of pixels from 0 to 255), and metrics.

    Raises:
        RunWriteError: the disk is full.
    """
    try:
        written = save_sealed(
            run.evaluated.state_dict(),
            path,
            arch=plan.arch,
            num_classes=splits.num_classes,
            resolution=plan.eval_resolution,
            more={
                "mean": run.standard.mean_1C11.flatten().tolist(),
                "std": run.standard.std_1C11.flatten().tolist(),
                "step": run.step,
                "metrics": dict(metrics or {}),
            },
        )
    except OSError as error:
        raise RunWriteError(
            f"{path} could not be written ({error.strerror}); free space or choose another --out"
        ) from error
    return str(written["sha256"])


def read_about(path: Path) -> dict[str, Any]:
    """What a file of weights says of itself; see `save_weights`.

    Raises:
        CheckpointError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about: Any = json.loads((file.metadata() or {})["nas"])
    except KeyError as error:
        raise CheckpointError(
            f"{path} does not say which network it is of; give the architecture too"
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as weights ({error})") from error
    if not isinstance(about, dict) or about.get("schema") != WEIGHTS_SCHEMA:
        raise CheckpointError(f"{path}: its header is not of schema {WEIGHTS_SCHEMA}")
    return about


def load_network(path: Path, *, sha256: str | None = None) -> "Network":
    """The network that a file of weights is of, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: the file is damaged, is not the one of `sha256`, or is no such file.
    """
    from safetensors.torch import load_file

    from search_spaces.document import architecture_from_document
    from search_spaces.network import build

    if sha256 is not None and (not path.exists() or sha256_of(path) != sha256):
        raise CheckpointError(f"{path} is gone or not what was written; train again, or restore it")
    about = read_about(path)
    arch = architecture_from_document(about["architecture"])
    network = build(arch, about["num_classes"], resolution=about["resolution"])
    network.load_state_dict(load_file(path))
    return network.eval()
