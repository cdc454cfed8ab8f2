"""What leaves: the networks of a run, an architecture, or the network in a file of weights."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import ExportError
from nas.ranking import rank, reward_of_run
from nas.reward import Reward
from results.candidate import CandidateResult
from results.errors import RunError
from results.run import Run, find_run, load_run
from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document, load_architecture
from search_spaces.messages import suggest
from search_spaces.shipped import ARCHITECTURES, shipped_names

if TYPE_CHECKING:
    from proxies.weights import Weights

DEFAULT_CLASSES = 1000
TRAINED = "best.safetensors"
"""What `nas train` leaves in its directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the caller decides about every network that leaves; None: what the weights or the network say."""

    weights: Path | None = None
    untrained: bool = False
    num_classes: int | None = None
    resolution: int | None = None
    reward: Reward | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One network that leaves: what its files are called, what it is, and its weights where there are any.

    `missing` says why there are none.
    """

    name: str
    arch: Architecture
    num_classes: int
    resolution: int
    weights: "Weights | None"
    missing: str


def find_source(source: str | Path | Run | Architecture) -> "Run | Architecture | Weights":
    """The thing that `source` names: files and shipped names before runs; of a training its best weights."""
    if isinstance(source, Run | Architecture):
        return source
    path = Path(source)
    trained = path / TRAINED
    if trained.is_file():
        path = trained
    if path.suffix == ".safetensors":
        from proxies.weights import read_weights

        return read_weights(path)
    is_file = path.is_file() or path.suffix in (".yaml", ".yml")
    if is_file or (not path.is_dir() and str(source) in shipped_names(ARCHITECTURES)):
        return load_architecture(source)
    try:
        return load_run(find_run(source))
    except RunError as error:
        if path.exists():
            raise
        near = suggest(str(source), shipped_names(ARCHITECTURES))
        raise RunError(f"{error}; or an architecture, by its name{near} or its YAML file") from error


def subjects(
    source: str | Path | Run | Architecture,
    found: "Run | Architecture | Weights",
    top: int | None,
    choices: Choices,
) -> Iterator[Subject]:
    """The networks that leave, one after the other, so that one's weights are in memory at a time.

    Raises:
        ExportError: one file of weights for a whole run, or choices that the weights contradict.
        WeightsError: weights that cannot be read.
    """
    if not isinstance(found, Run):
        assert not isinstance(source, Run)
        yield _single(source, found, choices)
        return
    if choices.weights is not None:
        raise ExportError(
            f"weights are one network's; give them with its YAML file, not with run {found.name}"
        )
    for member in best_of_front(found, top, choices.reward):
        yield _member(found, member, choices)


def best_of_front(run: Run, top: int | None, reward: Reward | str | None = None) -> list[CandidateResult]:
    """The members of a run's front, best first by `reward` or by what the run climbed, at most `top`."""
    return [member for member, _ in rank(run.pareto(), reward or reward_of_run(run))][:top]


def _member(run: Run, member: CandidateResult, choices: Choices) -> Subject:
    arch = architecture_from_document(member.architecture)
    weights = None
    missing = (
        f"candidate {member.id} of {run.name} has no weights; search with --keep-weights,"
        " or train it with nas train and export its YAML with --weights"
    )
    if not choices.untrained:
        weights, why = _kept_weights(run, member)
        missing = why or missing
    return _subject(f"{run.name}-{member.id}", arch, weights, missing, choices)


def _kept_weights(run: Run, member: CandidateResult) -> "tuple[Weights | None, str | None]":
    """The weights of a candidate's first training; else, where that is not all, why they are of no use."""
    from proxies.weights import read_weights

    for record in run.records(member):
        kept = record.outcome.details.get("weights") if record.outcome.kind == "train" else None
        path = run.path / "weights" / Path(kept["file"]).name if kept else None
        if path is None or not path.is_file():
            continue
        weights = read_weights(path)
        if weights.arch.digest == member.digest:
            return weights, None
        return None, (
            f"candidate {member.id} of {run.name} has no weights: its proxy trained a smaller network,"
            f" {weights.arch.digest[:12]}, which {path} holds; train the candidate with nas train and export"
            " its YAML with --weights, or search with --keep-weights on a proxy that trains it whole"
        )
    return None, None


def _single(source: str | Path | Architecture, found: "Architecture | Weights", choices: Choices) -> Subject:
    """An architecture, or the network in a file of weights."""
    stem = None if isinstance(source, Architecture) else Path(source).stem
    if not isinstance(found, Architecture):
        return _subject(stem or found.arch.digest[:12], found.arch, found, "", choices)
    name = found.name or stem or found.digest[:12]
    weights = None
    if choices.weights is not None:
        from proxies.weights import read_weights

        weights = read_weights(choices.weights, found)
    missing = (
        f"{name} has no weights; train it with nas train and give them as --weights,"
        " or search with --keep-weights and export the run"
    )
    return _subject(name, found, weights, missing, choices)


def _subject(
    name: str, arch: Architecture, weights: "Weights | None", missing: str, choices: Choices
) -> Subject:
    if choices.untrained and weights is None:
        from proxies.weights import untrained_weights

        weights = untrained_weights(
            arch,
            num_classes=choices.num_classes or DEFAULT_CLASSES,
            resolution=choices.resolution or arch.eval_resolution,
        )
    if weights is not None:
        for what, asked, has in (
            ("classes", choices.num_classes, weights.num_classes),
            ("pixels", choices.resolution, weights.resolution),
        ):
            if asked not in (None, has):
                raise ExportError(f"{name}: {asked} {what} were asked for, and its weights are for {has}")
    return Subject(
        name=re.sub(r"[^A-Za-z0-9._+-]+", "-", name),
        arch=arch,
        num_classes=weights.num_classes if weights else choices.num_classes or DEFAULT_CLASSES,
        resolution=weights.resolution if weights else choices.resolution or arch.eval_resolution,
        weights=weights,
        missing=missing,
    )
