"""Weights of a full training: written as every file of weights is, and read to begin one with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.training.checkpoints import CheckpointError, sha256_of
from nas.training.layouts import CLASSIFIER, LayoutError, check_names, our_names
from proxies.weights import read_about, read_weights
from proxies.weights import save_weights as write_weights
from results.errors import RunWriteError
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from proxies.training_run import TrainingRun
    from search_spaces.network import Network


def save_weights(
    path: Path,
    run: "TrainingRun",
    *,
    arch: Architecture,
    num_classes: int,
    resolution: int,
    metrics: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> str:
    """Write the network that is judged (the averaged one, where the recipe averages); returns the SHA-256.

    Its header also holds mean and deviation by channel (of pixels from 0 to 255) that images are
    standardised with, the step, `metrics`, and what the classes are called, where the data says it.

    Raises:
        RunWriteError: the disk is full.
    """
    about = {
        "mean": run.standard.mean_1C11.flatten().tolist(),
        "std": run.standard.std_1C11.flatten().tolist(),
        "step": run.step,
        "metrics": dict(metrics or {}),
        **({} if class_names is None else {"class_names": list(class_names)}),
    }
    try:
        written = write_weights(
            run.evaluated.state_dict(),
            path,
            arch=arch,
            num_classes=num_classes,
            resolution=resolution,
            more=about,
        )
    except OSError as error:
        raise RunWriteError(
            f"{path} could not be written ({error.strerror}); free space or choose another --out"
        ) from error
    return str(written["sha256"])


def load_network(path: Path, *, sha256: str | None = None) -> "Network":
    """The network that a file of weights is of, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: the file is gone, or is not the one of `sha256`.
        WeightsError: it is damaged, or no such file.
    """
    from search_spaces.network import build

    if sha256 is not None and (not path.exists() or sha256_of(path) != sha256):
        raise CheckpointError(f"{path} is gone or not what was written; train again, or restore it")
    found = read_weights(path)
    network = build(found.arch, found.num_classes, resolution=found.resolution)
    network.load_state_dict(dict(found.tensors))
    return network.eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """A file of weights that a training begins with, and its SHA-256."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The weights at `path`: a safetensors file, or a finished training's directory, whose best it is.

        Raises:
            CheckpointError: there is no such file, or it is of another kind.
        """
        file = path / "best.safetensors" if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(
                f"{file}: there are no such weights; give a .safetensors file or a training"
            )
        if file.suffix != ".safetensors":
            raise CheckpointError(
                f"{file} is not a .safetensors file, and reading others can run code; convert it where you "
                "trust it: safetensors.torch.save_file(state_dict, 'weights.safetensors')"
            )
        return cls(path=str(file.absolute()), sha256=sha256_of(file))


def initialise(network: "Network", arch: Architecture, initial: Initial) -> str:
    """Load weights into a network; a classifier of another number of classes is left as it is.

    Returns a sentence on what was loaded.

    Raises:
        CheckpointError: the file is gone, has changed, or cannot be read.
        LayoutError: it holds another network's weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(initial.path)
    try:
        if sha256_of(path) != initial.sha256:
            raise CheckpointError(f"{path} has changed since this training began; restore it")
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as weights ({error})") from error
    _refuse_another(path, arch)
    try:
        layout, names = our_names(arch, tensors)
        given = {ours: tensors[theirs] for theirs, ours in names.items()}
        wanted = network.state_dict()
        head = f"{CLASSIFIER}weight"
        is_new_head = head not in given or given[head].shape != wanted[head].shape
        check_names(
            {name: tuple(value.shape) for name, value in wanted.items()},
            {name: tuple(value.shape) for name, value in given.items()},
            theirs={ours: theirs for theirs, ours in names.items()},
            is_new_head=is_new_head,
        )
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error
    kept = {name: value for name, value in given.items() if not (is_new_head and name.startswith(CLASSIFIER))}
    network.load_state_dict(kept, strict=False)  # what may be missing was looked at above
    return f"{len(kept)} tensors of {path} ({layout} names){', and a new classifier' if is_new_head else ''}"


def _refuse_another(path: Path, arch: Architecture) -> None:
    """Our own files say whose they are; shapes alone do not tell paddings and strides apart."""
    digest = (read_about(path.read_bytes(), path) or {}).get("digest", arch.digest)
    if digest != arch.digest:
        raise LayoutError(f"{path} holds weights of network {digest[:12]}, and this is {arch.digest[:12]}")
