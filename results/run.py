"""A run to look at: what a search found, also while it is still going on, on any machine."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxies.records import METRIC_NAMES
from results.candidate import FAILED, CandidateResult
from results.contents import read_contents
from results.directory import LEDGER_NAME, ROOT, RunDirectory, list_runs
from results.entries import Record, Span
from results.errors import ResultsError, RunError
from results.finding import find_run
from results.ledger import Ledger
from results.pareto import Objective, default_reference, hypervolume, non_dominated
from results.selection import Reward, highest_reward, knee, within
from results.timeline import Moment, timeline

if TYPE_CHECKING:
    import pandas as pd

    from results.choices import Choices
    from search_spaces.architecture import Architecture
    from search_spaces.network import Network
    from search_spaces.space import Space

__all__ = ["Run", "RunDirectory", "find_run", "list_runs", "load_run", "load_runs"]

MIN_ACCEPTED = 3
"""With fewer accepted step times than this, provisional ones are shown on the front too."""

ESTIMATED_NAMES = ("estimated_step_ms", "estimated_step_ms_low", "estimated_step_ms_high")
_TIMES = tuple(f"{time}_" for time, _ in METRIC_NAMES.values())


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
    sessions: tuple[Span, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.name

    @property
    def is_estimated(self) -> bool:
        """Whether its step times are estimates for hardware that was not there; see `proxies.estimates`."""
        return bool((self.config.get("hardware") or {}).get("estimated"))

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

    def best(
        self, reward: Reward | None = None, *, limit: Mapping[str, float] | None = None
    ) -> CandidateResult | None:
        """The network to take; None when there is none.

            run.best(nas.WeightedProduct())         the highest reward: a function of a candidate
            run.best(limit={"step_ms": 20})         the best first objective among those as good as the limit
            run.best()                              the knee of the front: see `results.selection.knee`

        `limit` is the worst that is good enough, by name; it may come with a reward.

        Raises:
            ValueError: a reward or a limit is not finite, or a limited quantity has no known direction.
        """
        eligible = self._eligible(self.objectives)
        if reward is None and limit is None:
            return knee(self.pareto(), self.objectives)
        kept = eligible if limit is None else within(eligible, limit, self.objectives)
        return highest_reward(kept, reward or self._first_objective)

    def timeline(self, reference: Mapping[str, float] | None = None) -> "pd.DataFrame":
        """How the search stood after each evaluation; columns as the fields of `results.timeline.Moment`."""
        from results.frame import frame_of

        return frame_of(Moment, self.moments(reference))

    def moments(self, reference: Mapping[str, float] | None = None) -> tuple[Moment, ...]:
        """`timeline` as values."""
        corner = reference if reference is not None else self.reference()
        return timeline(self.results, self.objectives, corner, self.sessions)

    def choices(self, space: "Space | None" = None) -> "Choices":
        """What was chosen in each measured candidate, place by place; see `results.choices`.

        `space` is the one that was searched; by default it is loaded by the name that the run has for it.
        """
        from results.choices import choices

        return choices(self._measured(), space or self.searched_space())

    def importance(
        self,
        quantities: Sequence[str] = ("accuracy", "step_ms"),
        *,
        space: "Space | None" = None,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Which choices explain accuracy and step time; columns as in `results.importance.Importance`.

        Of more than 1,000 measured candidates an even selection of 1,000 is looked at.

        Raises:
            ValueError: fewer than 20 candidates have a quantity.
        """
        from results.frame import frame_of
        from results.importance import Importance, importances

        rows = importances(self._measured(), quantities, space or self.searched_space(), seed=seed)
        return frame_of(Importance, rows)

    def predictor_quality(self) -> "pd.DataFrame":
        """How well the search's own predictors did on what they had not seen, as the search noted it.

        A row for each note and quantity: `evaluated` (candidates then), `quantity`, and the figures noted.
        Empty where the run has no such notes: its strategy has no predictors.
        """
        from results.predictor_notes import predictor_notes

        return predictor_notes(self.path)

    def architecture(self, id_or_digest: int | str) -> "Architecture":
        """The network of a candidate as a value, of the same digest.

        Raises:
            RunError: no such candidate, as `candidate`.
            DocumentError: its blocks are a plug-in's that is not loaded here.
        """
        from search_spaces.document import architecture_from_document

        return architecture_from_document(self.candidate(id_or_digest).architecture)

    def build(self, id_or_digest: int | str, num_classes: int = 1000) -> "Network":
        """The network of a candidate as a torch module, freshly initialised; see `nas.build`."""
        from search_spaces.network import build

        return build(self.architecture(id_or_digest), num_classes)

    def summary(self) -> dict[str, Any]:
        """The result of a search as plain JSON.

        `evaluated` counts candidates whose evaluation has ended, `failed` those among them that broke
        (error, oom, timeout, diverged), `stopped` those whose training was ended early; `gated` ones were
        timed and not trained, and are not evaluated. Members with `provisional: true` have an uncertain
        step time. `estimated` is there, and true, where step times were estimated, and with them the
        hypervolume. `predicted_steps` is there where step times were predicted: how many, how many of them
        were not timed, and how many of the others had their time inside the interval.
        """
        statuses = [result.status for result in self.results]
        return {
            "run": _display(self.path),
            **({"estimated": True} if self.is_estimated else {}),
            "evaluated": sum(status not in ("pending", "skipped", "infeasible") for status in statuses),
            "failed": sum(status in FAILED for status in statuses),
            "gated": sum(each.status == "skipped" and each.accuracy is None for each in self.results),
            **self._predictions(),
            "stopped": statuses.count("stopped"),
            "front": [member_summary(result, self.objectives) for result in self.pareto()],
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

    def _predictions(self) -> dict[str, Any]:
        """How often a step time was predicted, and how that went where it was measured after all."""
        predicted = [each.metrics for each in self.results if "predicted_step_ms" in each.metrics]
        timed = [metrics for metrics in predicted if "step_ms" in metrics]
        inside = sum(
            metrics["predicted_step_ms_low"] <= metrics["step_ms"] <= metrics["predicted_step_ms_high"]
            for metrics in timed
        )
        if not predicted:
            return {}
        counts = {"predicted": len(predicted), "not_timed": len(predicted) - len(timed)}
        return {"predicted_steps": {**counts, "timed": len(timed), "inside_interval": inside}}

    def _objectives(self, objectives: Sequence[Objective | str] | None) -> tuple[Objective, ...]:
        if objectives is None:
            return self.objectives
        return tuple(Objective.parse(each) if isinstance(each, str) else each for each in objectives)

    def _first_objective(self, result: CandidateResult) -> float | None:
        value = result.value(self.objectives[0].name)
        return None if value is None else -self.objectives[0].sign * value

    def _measured(self) -> list[CandidateResult]:
        return [result for result in self.results if result.is_measured]

    def searched_space(self) -> "Space | None":
        """The space that was searched, where it can be loaded here by the name that the run has for it."""
        from results.choices import load_searched_space

        return load_searched_space(self.config)

    def _eligible(self, objectives: Sequence[Objective]) -> list[CandidateResult]:
        """Who may be on a front: measured ones, provisional only where they matter not or are needed."""
        measured = self._measured()
        if not any(objective.name.startswith(_TIMES) for objective in objectives):
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


def load_runs(*runs: str | Path, root: Path = ROOT) -> tuple[Run, ...]:
    """Several runs, each as `load_run` takes it; without arguments all under `root`, newest first.

    Of those that were not named, ones that cannot be read are left out with a warning.

    Raises:
        RunError, LedgerError: as `load_run`, for runs that were named.
    """
    if runs:
        return tuple(load_run(run, root=root) for run in runs)
    loaded = []
    for path in list_runs(root):
        try:
            loaded.append(_load(path.resolve()))
        except ResultsError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return tuple(loaded)


def member_summary(result: CandidateResult, objectives: Sequence[Objective] = ()) -> dict[str, Any]:
    """A member of a front as plain JSON: the usual quantities, and the objectives whatever they are.

    `provisional` is there only where it is true, as is an estimate.
    """
    asked = (each.name for each in objectives if each.name not in ESTIMATED_NAMES)
    names = dict.fromkeys(("accuracy", "step_ms", "params", "macs", *asked))
    provisional = {"provisional": True} if result.is_provisional else {}
    estimated = result.values(ESTIMATED_NAMES) if result.is_estimated else {}
    return {"id": result.id, "digest": result.digest} | result.values(names) | estimated | provisional


def _load(path: Path) -> Run:
    contents = read_contents(path)
    return Run(
        path=path,
        config=contents.config,
        objectives=contents.objectives,
        results=contents.results,
        wall_seconds=contents.wall_seconds,
        sessions=contents.sessions,
    )


def _display(path: Path) -> str:
    """The path as a person would type it: relative where it is below the working directory."""
    working = Path.cwd()
    return str(path.relative_to(working)) if path.is_relative_to(working) else str(path)
