"""Stage two of a search: the best of its front trained in full, one after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.deploy.subjects import best_of_front
from nas.errors import ConfigError
from nas.training.api import Trained, resume_training, train
from nas.training.directory import is_training, read_training
from nas.training.progress import TrainingProgress
from proxies.data.protocol import DataSource
from proxies.data.registry import source_from_document
from results.candidate import CandidateResult
from results.run import Run, load_run
from search_spaces.document import architecture_from_document


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedMember:
    """A member of a front, what the search had measured of it, and how its full training went."""

    candidate: CandidateResult
    trained: Trained


def train_top(
    run: Run | str | Path,
    *,
    top: int,
    out: str | Path,
    data: DataSource | str | None = None,
    resume: bool = False,
    progress: TrainingProgress | None = None,
    checkpoint_seconds: float,
    **settings: Any,
) -> list[TrainedMember]:
    """Train the `top` best members of a run's front (by reward), each in a directory of its own under `out`.

    `data`: default, that of the run's proxy task. `settings`: as for `train`. With `resume`, finished
    trainings are taken as they are, and one that was stopped goes on.

    Raises:
        ConfigError: the run has no front, or its data must be named.
        RunError: as `train`, for each member.
    """
    found = run if isinstance(run, Run) else load_run(run)
    members = best_of_front(found, top)
    if not members:
        raise ConfigError(f"{found.name} has no front yet, so there is nothing to train")
    source = data if data is not None else _data_of(found)
    done = []
    for member in members:
        folder = Path(out) / f"{member.id:04d}-{member.digest[:12]}"
        if resume and is_training(folder):
            _require_member(folder, member)
            trained = resume_training(folder, checkpoint_seconds=checkpoint_seconds, progress=progress)
        else:
            trained = train(
                architecture_from_document(member.architecture),
                data=source,
                out=folder,
                checkpoint_seconds=checkpoint_seconds,
                progress=progress,
                **settings,
            )
        done.append(TrainedMember(candidate=member, trained=trained))
    return done


def _data_of(run: Run) -> DataSource:
    document = (run.config.get("task") or {}).get("data")
    if not isinstance(document, dict):
        raise ConfigError(f"{run.name} does not say what it was trained on; name the data with --data")
    return source_from_document(document)


def _require_member(folder: Path, member: CandidateResult) -> None:
    digest = (read_training(folder).get("architecture") or {}).get("digest")
    if digest != member.digest:
        raise ConfigError(f"{folder} holds the training of another network; choose another --out")
