"""What an interrupted search has settled already, read off its ledger in one go.

A session would find the same by taking up its candidates one after another, in a millisecond each: every
architecture is read back, its jobs are made, and each is looked up. Here the ledger is read once, job keys
follow from digests, and genotypes wait until somebody asks for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from nas.evaluations import Evaluations, ending_of, evaluation_of, values_of
from nas.objectives import broken_bound
from nas.strategies.protocol import Ending, Evaluation
from proxies.records import Outcome, keys_like
from results.entries import Candidate
from results.ledger import Ledger
from search_spaces.architecture import Architecture
from search_spaces.document import architecture_from_document
from search_spaces.space import Genes, Space

MEASURED = frozenset({"ok", "unstable"})
"""Statuses of an outcome that a candidate goes on with."""

Key = Callable[[str], str]

RECIPE = '"recipe":'
"""Before the recipe in a candidate's JSON; within a string its first quotation mark would be escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A candidate whose evaluation has ended, and the outcomes that ended it."""

    evaluation: Evaluation
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Looks up how candidates ended. Reads the ledger when it is first asked.

    Outcomes lack their details, unless learning curves are asked for.
    """

    ledger: Ledger
    space: Space
    evaluations: Evaluations
    with_curves: bool = False
    _keys: dict[str, tuple[list[Key], list[Key]]] = field(default_factory=dict)

    def settled(self, candidate: Candidate) -> Settled | None:
        """How `candidate` ended; None where something is still to be done, or to be filed.

        Law: what a session that takes it up would settle it with.
        """
        if self.evaluations.estimate is not None:  # it is made anew, which is cheap beside a training
            return None
        time_keys, train_keys = self._keys_of(candidate)
        filed = [self._outcomes.get(key(candidate.digest)) for key in time_keys]
        timed = tuple(outcome for outcome in filed if outcome is not None)
        if any(outcome.status not in MEASURED for outcome in timed):
            return self._of(candidate, timed, "failed")
        if len(timed) < len(time_keys):
            return None
        if self.evaluations.bounds and self._is_refused(candidate, timed):
            is_filed = candidate.digest in self._decided["limit"]
            return self._of(candidate, timed, "refused") if is_filed else None
        keys = [key(candidate.digest) for key in train_keys]
        trained = [self._outcomes[key] for key in keys if key in self._outcomes]
        if not trained and candidate.digest in self._decided["gate"]:
            return self._of(candidate, timed, "gated")
        ending = ending_of(trained)
        if ending == "complete" and len(trained) < len(keys):
            return None
        return self._of(candidate, (*timed, *trained), ending)

    def _is_refused(self, candidate: Candidate, timed: Sequence[Outcome]) -> bool:
        return broken_bound(self.evaluations.bounds, values_of(candidate, timed)) is not None

    def _of(self, candidate: Candidate, outcomes: tuple[Outcome, ...], ending: Ending) -> Settled:
        genes = partial(self._genes, candidate)
        evaluation = evaluation_of(candidate, genes, outcomes, ending, with_curve=self.with_curves)
        return Settled(evaluation=evaluation, outcomes=outcomes)

    def _keys_of(self, candidate: Candidate) -> tuple[list[Key], list[Key]]:
        """How the keys of its jobs follow from a digest: alike for networks of one recipe."""
        recipe = candidate.architecture_json.rpartition(RECIPE)[2]
        if recipe not in self._keys:
            timings = self.evaluations.time_jobs(candidate, _architecture(candidate))
            trainings = self.evaluations.train_jobs(candidate)
            self._keys[recipe] = [keys_like(job) for job in timings], [keys_like(job) for job in trainings]
        return self._keys[recipe]

    def _genes(self, candidate: Candidate) -> Genes:
        return self.space.encode(_architecture(candidate))

    @cached_property
    def _outcomes(self) -> Mapping[str, Outcome]:
        return {outcome.key: outcome for outcome in self.ledger.outcomes(with_details=self.with_curves)}

    @cached_property
    def _decided(self) -> Mapping[str, frozenset[str]]:
        decisions = self.ledger.decisions()
        return {
            kind: frozenset(each.digest for each in decisions if each.kind == kind)
            for kind in ("limit", "gate")
        }


def _architecture(candidate: Candidate) -> Architecture:
    return architecture_from_document(candidate.architecture)
