"""Measurements made to confirm a front: kept beside the run's ledger, and told together with it.

`confirmations.sqlite` is a ledger of its own, so that a run that is confirmed stays what the search found,
and can be resumed.
"""

from collections import defaultdict
from collections.abc import Sequence

from proxies.records import Outcome
from results.directory import LEDGER_NAME
from results.errors import RunError
from results.honest import Honest, Measured, honest_front
from results.ledger import Ledger
from results.pareto import Objective
from results.run import Run
from search_spaces.limits import COST_NAMES

CONFIRMATIONS_NAME = "confirmations.sqlite"


def all_outcomes(run: Run) -> tuple[Outcome, ...]:
    """The outcomes of the search, then those of later confirmations, each oldest first."""
    found: list[Outcome] = []
    for name in (LEDGER_NAME, CONFIRMATIONS_NAME):
        if (run.path / name).exists():
            with Ledger.open(run.path / name, read_only=True) as ledger:
                found += [record.outcome for record in ledger.records(with_details=False)]
    return tuple(found)


def measured_networks(run: Run, names: Sequence[str]) -> tuple[Measured, ...]:
    """Every measured candidate that has these quantities, with all measurements of what is no cost."""
    outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in all_outcomes(run):
        if outcome.status in ("ok", "unstable"):
            outcomes[outcome.digest].append(outcome)
    found = []
    for result in run.candidates():
        if not result.is_measured:
            continue
        repeated = {
            name: values
            for name in names
            if name not in COST_NAMES
            and (values := tuple(o.metrics[name] for o in outcomes[result.digest] if name in o.metrics))
        }
        exact: dict[str, float] = {name: float(getattr(result.cost, name)) for name in COST_NAMES}
        if all(name in exact or name in repeated for name in names):
            found.append(Measured(id=result.id, exact=exact, repeated=repeated))
    return tuple(found)


def honest(
    run: Run, objectives: Sequence[Objective | str] | None = None, *, seed: int = 0
) -> tuple[Honest, ...]:
    """What each measured network is likely to be, and its chance of a place on the true front, best first.

    All measurements count: the search's, its second timings, and those of `nas confirm`. Members of the
    honest front are those with `is_member`.

    Raises:
        RunError: no network was measured twice in some objective, so the noise is not known.
    """
    chosen = run.objectives if objectives is None else objectives
    parsed = tuple(Objective.parse(each) if isinstance(each, str) else each for each in chosen)
    networks = measured_networks(run, [objective.name for objective in parsed])
    try:
        found = honest_front(networks, parsed, seed=seed)
    except ValueError as error:
        raise RunError(f"{run.name}: {error}") from error
    return tuple(sorted(found, key=lambda each: (not each.is_member, -each.probability, each.id)))
