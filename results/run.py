"""A run to look at: what a search found, also while it is still going on, on any machine."""

import difflib
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.candidate import FAILED, CandidateResult, join
from results.directory import LATEST, LEDGER_NAME, ROOT, RunDirectory, list_runs, read_config
from results.entries import Record
from results.errors import RunError
from results.ledger import Ledger
from results.pareto import DEFAULT_OBJECTIVES, Objective, default_reference, hypervolume, non_dominated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run", "RunDirectory", "list_runs", "load_run"]

MIN_ACCEPTED = 3
"""With fewer accepted step times than this, provisional ones are shown on the front too."""

_DEFAULT_JOBS = {"time": 1, "train": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was in the ledger at one moment. `reload` looks again.

    Needs neither torch nor ray, and pandas only for `frame`.
    """

    path: Path
    config: Mapping[str, Any] = field(hash=False, repr=False)
    objectives: tuple[Objective, ...]
    results: tuple[CandidateResult, ...] = field(repr=False)
    wall_seconds: float

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.name

    def candidates(self) -> tuple[CandidateResult, ...]:
        """All candidates in the order of proposal."""
        return self.results

    def candidate(self, id_or_digest: int | str) -> CandidateResult:
        """One candidate by its number, or by the beginning of its digest.

        Raises:
            RunError: none, or several begin so.
        """
        text = str(id_or_digest)
        found = [
            result
            for result in self.results
            if text == str(result.id) or (len(text) >= 6 and result.digest.startswith(text))
        ]
        if len(found) != 1:
            what = (
                f"{len(found)} candidates begin with"
                if found
                else f"none of {len(self.results)} candidates is"
            )
            raise RunError(f"{self.path}: {what} {text!r}; give its number, or more of its digest")
        return found[0]

    def frame(self) -> "pd.DataFrame":
        """A table with a row per candidate; its columns are `results.frame.COLUMNS` and further metrics."""
        from results.frame import frame

        return frame(self.results)

    def pareto(self, objectives: Sequence[Objective | str] | None = None) -> tuple[CandidateResult, ...]:
        """The candidates that no other dominates, best in the first objective first.

        Objectives default to the run's; a string is read as `Objective.parse` does. Step times that missed
        the tolerance do not count, unless fewer than three were accepted: then they are members too, and
        `is_provisional` marks them, so the front is not empty when anything was measured.
        """
        chosen = self._objectives(objectives)
        pool = self._eligible(chosen)
        names = [objective.name for objective in chosen]
        members = [pool[index] for index in non_dominated([result.values(names) for result in pool], chosen)]
        first = chosen[0]
        return tuple(
            sorted(members, key=lambda result: (first.sign * (result.value(first.name) or 0.0), result.id))
        )

    def reference(self, objectives: Sequence[Objective | str] | None = None) -> dict[str, float] | None:
        """The point that hypervolumes are measured from; None when nothing was measured.

        `hypervolume_reference` of the configuration where it has all objectives; else by
        `results.pareto.default_reference` from everything measured so far.
        """
        chosen = self._objectives(objectives)
        names = [objective.name for objective in chosen]
        fixed = self.config.get("hypervolume_reference") or {}
        if all(name in fixed for name in names):
            return {name: float(fixed[name]) for name in names}
        measured = [result.values(names) for result in self.results if result.is_measured]
        return default_reference(measured, chosen)

    def hypervolume(
        self,
        reference: Mapping[str, float] | None = None,
        objectives: Sequence[Objective | str] | None = None,
    ) -> float | None:
        """Volume that the front dominates, in the objectives' units; None when nothing was measured.

        Volumes compare only under one and the same `reference`; the default moves with what is seen.
        """
        chosen = self._objectives(objectives)
        corner = reference if reference is not None else self.reference(chosen)
        if corner is None:
            return None
        names = [objective.name for objective in chosen]
        return hypervolume([result.values(names) for result in self.pareto(chosen)], chosen, corner)

    def best(self, reward: Callable[[CandidateResult], float | None]) -> CandidateResult | None:
        """The measured candidate of the highest reward, the earlier of equals; None when none has one.

        Raises:
            ValueError: a reward is not finite.
        """
        best: tuple[float, CandidateResult] | None = None
        for result in self._eligible(self.objectives):
            score = reward(result)
            if score is None:
                continue
            if not math.isfinite(score):
                raise ValueError(
                    f"the reward of candidate {result.id} is {score}; return a finite number or None"
                )
            if best is None or score > best[0]:
                best = (score, result)
        return best[1] if best else None

    def summary(self) -> dict[str, Any]:
        """The result of a search as plain JSON.

        `evaluated` counts candidates whose evaluation has ended, `failed` those among them that broke
        (error, oom, timeout, diverged). Members with `provisional: true` have an uncertain step time.
        """
        statuses = [result.status for result in self.results]
        return {
            "run": _display(self.path),
            "evaluated": sum(status not in ("pending", "skipped", "infeasible") for status in statuses),
            "failed": sum(status in FAILED for status in statuses),
            "front": [member_summary(result) for result in self.pareto()],
            "hypervolume": self.hypervolume(),
            "wall_seconds": self.wall_seconds,
        }

    def records(self, result: CandidateResult) -> tuple[Record, ...]:
        """Every outcome of a candidate with its details, read from the ledger now."""
        with Ledger.open(self.path / LEDGER_NAME, read_only=True) as ledger:
            return ledger.records(digest=result.digest)

    def reload(self) -> "Run":
        """The run as it is now."""
        return _load(self.path)

    def _objectives(self, objectives: Sequence[Objective | str] | None) -> tuple[Objective, ...]:
        if objectives is None:
            return self.objectives
        return tuple(Objective.parse(each) if isinstance(each, str) else each for each in objectives)

    def _eligible(self, objectives: Sequence[Objective]) -> list[CandidateResult]:
        """Who may be on a front: measured ones, provisional only where they matter not or are needed."""
        measured = [result for result in self.results if result.is_measured]
        if not any(objective.name.startswith("step_") for objective in objectives):
            return measured
        accepted = [result for result in measured if not result.is_provisional]
        return accepted if len(accepted) >= MIN_ACCEPTED else measured


def load_run(run: str | Path, *, root: Path = ROOT) -> Run:
    """A run by its directory, by its name under `root`, or "latest".

    Raises:
        RunError: there is no such run; the nearest names are told.
        LedgerError: its ledger is damaged or of a newer schema.
    """
    return _load(find_run(run, root=root))


def find_run(run: str | Path, *, root: Path = ROOT) -> Path:
    """The directory of a run, links resolved; see `load_run`."""
    for path in (Path(run), root / run):
        if path.is_dir():
            return path.resolve()
    names = [path.name for path in list_runs(root)]
    near = difflib.get_close_matches(Path(run).name, [*names, LATEST], n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"{root} holds {', '.join(names[:3]) or 'no runs'}"
    )
    raise RunError(f"no run {str(run)!r} ({hint}); give a directory, a name under {root}, or {LATEST}")


def member_summary(result: CandidateResult) -> dict[str, Any]:
    """A member of a front as plain JSON; `provisional` is there only where it is true."""
    names = ("accuracy", "step_ms", "params", "macs")
    provisional = {"provisional": True} if result.is_provisional else {}
    return {"id": result.id, "digest": result.digest} | result.values(names) | provisional


def _load(path: Path) -> Run:
    config = read_config(path)
    jobs = config.get("jobs_per_candidate") or _DEFAULT_JOBS
    results: tuple[CandidateResult, ...] = ()
    wall_seconds = 0.0
    # A search that has only just begun has no ledger yet.
    if (path / LEDGER_NAME).exists():
        reading = Ledger.open(path / LEDGER_NAME, read_only=True)
        with _without_collection(), reading as ledger, ledger.snapshot():
            records = ledger.records(with_details=False)
            results = join(ledger.candidates(), records, ledger.decisions(), jobs_per_candidate=jobs)
            wall_seconds = ledger.wall_seconds()
    return Run(
        path=path,
        config=config,
        objectives=_read_objectives(config, path),
        results=results,
        wall_seconds=wall_seconds,
    )


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python's search for cycles, off meanwhile: values of a ledger have none, and looking for them among
    100,000 took 40 % of the time of a load.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_objectives(config: Mapping[str, Any], path: Path) -> tuple[Objective, ...]:
    entries = config.get("objectives")
    if not entries:
        return DEFAULT_OBJECTIVES
    try:
        return tuple(
            Objective.parse(entry) if isinstance(entry, str) else Objective(**entry) for entry in entries
        )
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}/run.yaml: objectives: {error}; each is a name and a direction") from error


def _display(path: Path) -> str:
    """The path as a person would type it: relative where it is below the working directory."""
    working = Path.cwd()
    return str(path.relative_to(working)) if path.is_relative_to(working) else str(path)
