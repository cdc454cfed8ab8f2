"""In which form networks leave: files that need nothing of ours."""

import re
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from nas.deploy.subjects import Choices, Subject, best_of_front, find_source, subjects
from nas.errors import ExportError
from nas.reward import Reward
from results.export import architecture_text
from results.filesystem import write_atomically
from results.run import Run
from search_spaces.architecture import Architecture, cost
from search_spaces.seal import seal
from search_spaces.text import dump

if TYPE_CHECKING:
    from proxies.weights import Weights

Format = Literal["yaml", "torch", "safetensors", "onnx", "timm"]
FORMATS: tuple[str, ...] = get_args(Format)
NEEDS_WEIGHTS = frozenset({"safetensors", "onnx"})


def export(
    source: str | Path | Run | Architecture,
    *,
    out: str | Path,
    top: int | None = None,
    reward: Reward | str | None = None,
    format: Format = "yaml",  # noqa: A002 -- what the command line calls it
    weights: str | Path | None = None,
    untrained: bool = False,
    num_classes: int | None = None,
    resolution: int | None = None,
) -> list[Path]:
    """Write networks into the folder `out`; returns the files.

    `source` is a run, whose front leaves, at most `top` members, best first by `reward` (by default the one
    that the run climbed); or an architecture; or a file of weights that names its architecture, or the
    directory of a training, whose best weights leave.

        yaml         the architecture document; of a run with provenance and measurements
        torch        a Python module that needs PyTorch alone, and beside it its weights where there are any
        safetensors  the weights
        onnx         the network with its weights, for any number of images; ONNX Runtime's logits are
                     compared with PyTorch's first
        timm         a Python module that builds it with timm, from block strings

    Weights are those that the run kept, or those in the file `weights`; `untrained`: those that
    initialisation with seed 0 gives, to measure with. `num_classes` and `resolution` default to what the
    weights are for, else to 1000 and the evaluation resolution.

    Raises:
        ExportError: an unknown format, weights that are not there, or a network that a form cannot express.
        OnnxMissingError: the extra `export` is not installed.
        ConfigError: no such reward.
        RunError, LedgerError, DocumentError, WeightsError: `source` or `weights` cannot be read.
        RunWriteError: a file cannot be written.
    """
    if format not in FORMATS:
        raise ExportError(f"format {format!r} is unknown; known: {', '.join(FORMATS)}")
    choices = Choices(
        weights=None if weights is None else Path(weights),
        untrained=untrained,
        num_classes=num_classes,
        resolution=resolution,
        reward=reward,
    )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found = find_source(source)
    if isinstance(found, Run) and format == "yaml":
        return [
            _write_text(folder / f"{found.name}-{member.id}.yaml", architecture_text(member, found))
            for member in best_of_front(found, top, reward)
        ]
    return [file for each in subjects(source, found, top, choices) for file in _write(each, format, folder)]


def _write(subject: Subject, form: str, folder: Path) -> Iterator[Path]:
    if form in NEEDS_WEIGHTS and subject.weights is None:
        raise ExportError(subject.missing)
    if form == "yaml":
        yield _write_text(folder / f"{subject.name}.yaml", seal(dump(subject.arch.to_document())))
    elif form == "torch":
        from nas.deploy.module_file import module_text

        stem = module_stem(subject.name)
        text = module_text(
            subject.arch, name=stem, num_classes=subject.num_classes, resolution=subject.resolution
        )
        yield _write_text(folder / f"{stem}.py", text)
        if subject.weights is not None:
            yield _write_weights(subject.weights, folder / f"{stem}.safetensors")
    elif form == "safetensors" and subject.weights is not None:
        yield _write_weights(subject.weights, folder / f"{subject.name}.safetensors")
    elif form == "onnx" and subject.weights is not None:
        from nas.deploy.onnx_file import write_onnx

        path = folder / f"{subject.name}.onnx"
        write_onnx(subject.weights, path)
        yield path
    elif form == "timm":
        from nas.deploy.timm_file import timm_text

        params = cost(subject.arch, subject.resolution).params
        text = timm_text(subject.arch, name=subject.name, params=params)
        yield _write_text(folder / f"{module_stem(subject.name)}_timm.py", text)


def module_stem(name: str) -> str:
    """A name that Python can import, as near to `name` as that goes."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain.isidentifier() and not iskeyword(plain) else f"network_{plain}"


def _write_text(path: Path, text: str) -> Path:
    write_atomically(path, text)
    return path


def _write_weights(weights: "Weights", path: Path) -> Path:
    from proxies.weights import save_weights

    save_weights(
        weights.tensors,
        path,
        arch=weights.arch,
        num_classes=weights.num_classes,
        resolution=weights.resolution,
        more=weights.more,
    )
    return path
