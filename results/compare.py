"""Several runs side by side: whose front is better, by how much, and which network to take.

All volumes are taken from one reference; all fronts are of the same objectives; and only what was measured
alike is compared (`results.likeness`).
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from results.anchors import published_networks
from results.attainment import repeats
from results.candidate import CandidateResult
from results.comparison import Anchor, Comparison, Member, Pair, Shared, Side
from results.errors import RunError
from results.likeness import require_like
from results.pareto import Objective, default_reference, dominates, hypervolume, non_dominated
from results.run import Run, load_run

Floats = npt.NDArray[np.float64]


def compare(
    *runs: Run | str | Path,
    objectives: Sequence[Objective | str] | None = None,
    reference: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare runs, each a `Run` or what `load_run` takes.

    Objectives default to those of the runs, the reference to `results.pareto.default_reference` of all that
    any of them measured.

    Raises:
        UnlikeRunsError: runs differ in what an objective depends on: hardware, timing, proxy, data.
        RunError: fewer than two runs, or runs with different objectives where none are given.
        ValueError: the reference lacks an objective.
    """
    loaded = [run if isinstance(run, Run) else load_run(run) for run in runs]
    require_several(loaded)
    return compare_loaded(loaded, common_objectives(loaded, objectives), reference)


def compare_loaded(
    runs: Sequence[Run],
    objectives: tuple[Objective, ...],
    reference: Mapping[str, float] | None = None,
) -> Comparison:
    """`compare`, of two or more runs at hand in given objectives; it raises the same."""
    require_like(runs, objectives)
    return _compared(dict(zip(_labels(runs), runs, strict=True)), objectives, reference)


def require_several(runs: Sequence[Run]) -> None:
    """Let pass what can be compared.

    Raises:
        RunError: fewer than two runs.
    """
    if len(runs) < 2:
        raise RunError(f"a single run ({', '.join(run.name for run in runs)}) cannot be compared; give more")


def common_objectives(
    runs: Sequence[Run], objectives: Sequence[Objective | str] | None
) -> tuple[Objective, ...]:
    """The objectives to compare in: those given, else those that all runs have.

    Raises:
        RunError: the runs have different ones.
    """
    if objectives is not None:
        return tuple(Objective.parse(each) if isinstance(each, str) else each for each in objectives)
    first = runs[0].objectives
    for run in runs[1:]:
        if set(run.objectives) != set(first):
            here, there = (", ".join(map(str, each)) for each in (first, run.objectives))
            raise RunError(
                f"{runs[0].name} has objectives {here} and {run.name} {there}; say which with --objectives"
            )
    return first


def _compared(
    runs: Mapping[str, Run], objectives: tuple[Objective, ...], reference: Mapping[str, float] | None
) -> Comparison:
    names = [objective.name for objective in objectives]
    measured = {label: [each for each in run.candidates() if each.is_measured] for label, run in runs.items()}
    points = [each.values(names) for results in measured.values() for each in results]
    corner = reference if reference is not None else default_reference(points, objectives)
    fronts = {label: run.pareto(objectives) for label, run in runs.items()}
    joint = _joint(fronts, objectives)
    total = _volume([member.result for member in joint], objectives, corner)
    return Comparison(
        objectives=objectives,
        reference=corner,
        sides=tuple(
            _side(label, run, fronts, joint, _volume(fronts[label], objectives, corner), total)
            for label, run in runs.items()
        ),
        pairs=_pairs(fronts, objectives),
        joint=joint,
        shared=_shared(measured, fronts),
        anchors=_anchors(runs, joint, objectives),
        repeats=repeats(runs, objectives, corner),
    )


def _volume(
    front: Sequence[CandidateResult], objectives: Sequence[Objective], corner: Mapping[str, float] | None
) -> float:
    if corner is None:
        return 0.0
    names = [objective.name for objective in objectives]
    return hypervolume([result.values(names) for result in front], objectives, corner)


def _joint(
    fronts: Mapping[str, Sequence[CandidateResult]], objectives: Sequence[Objective]
) -> tuple[Member, ...]:
    """The members of all fronts that none dominates; a network is there once for each run that has it."""
    names = [objective.name for objective in objectives]
    members = [Member(label=label, result=each) for label, front in fronts.items() for each in front]
    kept = non_dominated([member.result.values(names) for member in members], objectives)
    first = objectives[0]
    return tuple(
        sorted(
            (members[position] for position in kept),
            key=lambda member: first.sign * (member.result.value(first.name) or 0.0),
        )
    )


def _side(
    label: str,
    run: Run,
    fronts: Mapping[str, Sequence[CandidateResult]],
    joint: Sequence[Member],
    volume: float,
    total: float,
) -> Side:
    own = [member for member in joint if member.label == label]
    others = {each.digest for other, front in fronts.items() if other != label for each in front}
    return Side(
        label=label,
        run=run,
        front=tuple(fronts[label]),
        evaluated=run.summary()["evaluated"],
        hypervolume=volume,
        share=volume / total if total > 0.0 else None,
        num_joint=len(own),
        num_new=sum(member.result.digest not in others for member in own),
    )


def _pairs(
    fronts: Mapping[str, Sequence[CandidateResult]], objectives: Sequence[Objective]
) -> tuple[Pair, ...]:
    losses = {
        label: np.array(
            [[each.sign * (member.value(each.name) or 0.0) for each in objectives] for member in front],
            dtype=np.float64,
        ).reshape(len(front), len(objectives))
        for label, front in fronts.items()
    }
    everything = np.concatenate(list(losses.values()))
    if len(everything):
        low, span = everything.min(axis=0), np.ptp(everything, axis=0)
        # An objective in which all agree decides nothing, whatever it is divided by.
        scale = np.where(span > 0.0, span, 1.0)
        losses = {label: (rows - low) / scale for label, rows in losses.items()}
    digests = {label: {member.digest for member in front} for label, front in fronts.items()}
    return tuple(
        Pair(
            first=first,
            second=second,
            coverage=coverage(losses[first], losses[second]),
            epsilon=additive_epsilon(losses[first], losses[second]),
            same=len(digests[first] & digests[second]),
        )
        for first, second in permutations(fronts, 2)
    )


def coverage(first: Floats, second: Floats) -> float | None:
    """The fraction of `second`, (M, K) losses, that some row of `first` is as good as in everything."""
    if not len(first) or not len(second):
        return None
    covered = (first[:, None] <= second[None]).all(axis=2).any(axis=0)
    return float(covered.mean())


def additive_epsilon(first: Floats, second: Floats) -> float | None:
    """max over `second` of min over `first` of max over objectives of the loss that `first` has more."""
    if not len(first) or not len(second):
        return None
    import moocore

    return float(moocore.epsilon_additive(first, ref=second))


def _shared(
    measured: Mapping[str, Sequence[CandidateResult]], fronts: Mapping[str, Sequence[CandidateResult]]
) -> tuple[Shared, ...]:
    found: dict[str, dict[str, CandidateResult]] = {}
    for label, results in measured.items():
        for result in results:
            found.setdefault(result.digest, {})[label] = result
    on_front = {label: {member.digest for member in front} for label, front in fronts.items()}
    return tuple(
        Shared(
            digest=digest,
            results=results,
            on_front_of=tuple(label for label in results if digest in on_front[label]),
        )
        for digest, results in found.items()
        if len(results) > 1
    )


def _anchors(
    runs: Mapping[str, Run], joint: Sequence[Member], objectives: Sequence[Objective]
) -> tuple[Anchor, ...]:
    """The published networks that a run measured, in its search or beside it, by name."""
    names = [objective.name for objective in objectives]
    front = [(member.result.digest, member.result.values(names)) for member in joint]
    found: list[Anchor] = []
    for label, run in runs.items():
        for each in published_networks(run):
            point = each.result.values(names)
            better = {digest for digest, values in front if dominates(values, point, objectives)}
            found.append(
                Anchor(
                    name=each.name,
                    label=label,
                    result=each.result,
                    imagenet_top1=each.imagenet_top1,
                    standing=each.standing,
                    num_better=None if None in point.values() else len(better),
                )
            )
    return tuple(sorted(found, key=lambda anchor: anchor.name))


def _labels(runs: Sequence[Run]) -> list[str]:
    """The runs' names; with their number where a name occurs twice."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: position + 1].count(name)})"
        for position, name in enumerate(names)
    ]
