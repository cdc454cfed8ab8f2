"""The search loop: ask, skip what is known, cost, time, train, record, tell.

The ledger is the only memory. What a candidate still needs is read off it, so a search that was killed
goes on as if it had not been: candidates are filed before their jobs are submitted, outcomes before the
strategy hears of them. Proposal `i` is drawn from its own generator, seeded by (seed, i), by a strategy
that has been told exactly the candidates before `i - lag`, in order; so the proposals do not depend on
which job finished first.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.evaluations import Budget, Evaluations, ending_of, evaluation_of, learning_curve, values_of
from nas.executors.protocol import Executor
from nas.failure_budget import FailureBudget
from nas.gate import Gate
from nas.halving import EarlyStopping
from nas.interruption import Interruption
from nas.objectives import broken_bound
from nas.progress import Progress, ProgressEvent
from nas.recovery import Recovery, Settled
from nas.reuse import Reuse
from nas.run_scale import RunScale
from nas.standing import Standing
from nas.step_prediction import PREDICTED, STEP, StepPrediction, prediction_key
from nas.strategies.protocol import Ending, Evaluation, Strategy
from proxies.records import Outcome, Partial, TimeJob, TrainJob
from proxies.spool import Spool
from results.entries import Candidate, without_collection
from results.ledger import Ledger
from results.pareto import Objective, non_dominated
from search_spaces.architecture import Architecture, cost
from search_spaces.document import architecture_from_document
from search_spaces.space import Genes, Space

MAX_REPEATS = 200
"""How often a strategy is asked again for a proposal that is not known yet."""
LISTEN_SECONDS = 0.5
"""How often a session that waits for jobs looks whether it was asked to end."""


@dataclass(slots=True)
class _Open:
    """A candidate on its way."""

    candidate: Candidate
    arch: Architecture
    genes: Genes
    waiting: dict[str, TimeJob | TrainJob] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    """What is known of it since it was timed."""
    is_to_be_timed: bool = False
    """Whether a prediction will not do."""


@dataclass(slots=True)
class Session:
    """One search, from its first proposal to its last outcome. `clock` is monotonic, in seconds.

    `earlier` is what earlier runs found; the strategy is told it first.
    """

    space: Space
    strategy: Strategy
    strategy_name: str
    executor: Executor
    ledger: Ledger
    spool: Spool
    evaluations: Evaluations
    objectives: tuple[Objective, ...]
    budget: Budget
    seed: int
    lag: int
    reuse: Reuse
    progress: Progress
    gate: Gate | None = None
    early_stopping: EarlyStopping | None = None
    prediction: StepPrediction | None = None
    earlier: Sequence[Evaluation] = ()
    interruption: Interruption = field(default_factory=Interruption)
    clock: Callable[[], float] = time.monotonic
    _open: dict[int, _Open] = field(default_factory=dict)
    _settled: dict[int, Evaluation] = field(default_factory=dict)
    _digests: set[str] = field(default_factory=set)
    _gated: set[str] = field(default_factory=set)
    _untimed: set[str] = field(default_factory=set)
    _told: int = 0
    _proposed: int = 0
    _is_exhausted: bool = False
    _started: float = 0.0
    _running: dict[str, None] = field(default_factory=dict)
    _is_recovering: bool = False
    _scale: RunScale = field(default_factory=RunScale)
    _standing: Standing = field(init=False)
    _failures: FailureBudget = field(init=False)

    def __post_init__(self) -> None:
        self._standing = Standing(self.objectives)
        self._failures = FailureBudget(max_failed=self.budget.max_failed)

    def run(self) -> None:
        """Spend the budget. Returns when every candidate is settled.

        Raises:
            StoppedEarlyError: too many candidates failed, or the first ones all did for one reason.
            KeyboardInterrupt: the user asked to end; what was running is on record, unless it took too long.
            ExecutorError, ResultsError: the place where jobs run, or the ledger, is gone; resume later.
        """
        self._started = self.clock()
        for evaluation in self.earlier:
            self.strategy.tell(evaluation)
        self._recover()
        self._report()
        while True:
            while self._may_propose():
                self._propose()
            if not self._open and not self.interruption.is_requested:
                break
            self._collect(self._wait())
        self._remeasure_front()

    # --- one candidate -------------------------------------------------------------------------------------

    def _may_propose(self) -> bool:
        if self._is_exhausted or self._proposed >= self.budget.candidates or self._is_out_of_time():
            return False
        if self.interruption.is_requested:
            return False
        needed = self._proposed - self.lag
        return all(index in self._settled for index in range(self._told, needed + 1))

    def _propose(self) -> None:
        """Ask for a candidate that is not known yet, cost it, file it, start on it."""
        index = self._proposed
        while self._told <= index - self.lag:
            self.strategy.tell(self._settled[self._told])
            self._told += 1
        rng = np.random.default_rng([self.seed, index])
        for attempt in range(MAX_REPEATS):
            # A strategy that keeps naming what is known is helped out by chance.
            is_stuck = attempt >= MAX_REPEATS // 2
            arch = self.space.decode(self.space.sample(rng) if is_stuck else self.strategy.ask(rng))
            if arch.digest not in self._digests:
                break
        else:
            self._is_exhausted = True  # a small space: everything in reach is known
            return
        candidate = self.ledger.add_candidate(
            digest=arch.digest,
            architecture=arch.to_document(),
            cost=cost(arch, self.space.resolution),
            resolution=self.space.resolution,
            origin=self.strategy_name,
            proposal_index=index,
        )
        self._start(candidate, arch)

    def _start(self, candidate: Candidate, arch: Architecture) -> None:
        self._proposed = candidate.proposal_index + 1
        self._digests.add(candidate.digest)
        self._open[candidate.proposal_index] = _Open(candidate, arch, self.space.encode(arch))
        self._advance(candidate.proposal_index)

    def _advance(self, index: int) -> None:
        """Submit what the candidate needs next, cheap things first, or settle it."""
        current = self._open[index]
        timed = self._timed(current)
        if timed is None:
            return
        if any(outcome.status not in {"ok", "unstable"} for outcome in timed):
            self._settle(index, timed, "failed")
            return
        current.values = values_of(current.candidate, timed)
        is_predicted = self.prediction is not None and timed[0].kind == "estimate"
        if is_predicted:  # at its best, for the gate and for early stopping
            current.values[STEP] = current.values[f"{PREDICTED}_low"]
        refusal = broken_bound(self.evaluations.bounds, current.values)
        if refusal is not None:
            self.ledger.decide(current.candidate.digest, "limit", refusal)
            self._settle(index, timed, "refused")
            return
        trained = self._outcome_of(
            self.evaluations.train_jobs(current.candidate), current, may_begin=self._passes_gate
        )
        if trained is not None:
            ending = ending_of(trained)
            if is_predicted and ending == "complete":
                if not self._need_not_be_timed(current, [*timed, *trained]):
                    current.is_to_be_timed = True
                    self._advance(index)
                    return
                ending = "predicted"
            self._settle(index, [*timed, *trained], ending)
        elif current.candidate.digest in self._gated:
            self._settle(index, timed, "gated")

    def _timed(self, current: _Open) -> list[Outcome] | None:
        """The outcome that says how long a step takes; None while it is being measured."""
        if self.evaluations.estimate is None:
            jobs = self.evaluations.time_jobs(current.candidate, current.arch)
            predicted = self._predicted(current, jobs)
            return self._outcome_of(jobs, current) if predicted is None else [predicted]
        estimated = self.evaluations.estimate(current.arch)
        self.ledger.record(estimated)
        return [estimated]

    def _predicted(self, current: _Open, jobs: Sequence[TimeJob]) -> Outcome | None:
        """What is predicted in the place of a timing, which is asked once: the answer stays on record.

        None where it has to be timed, or was, here or in another run.
        """
        if self.prediction is None or current.is_to_be_timed:
            return None
        (job,) = jobs  # a search that predicts times nothing but training: see `nas.planning`
        if self.ledger.find(job.key) is not None or job.key in self.reuse.ledgers:
            return None
        found = self.ledger.find(prediction_key(job))
        if found is None:
            found = self.prediction.predict(job, current.genes, self.evaluations_so_far())
            if found is not None:
                self.ledger.record(found)
        return found

    def _need_not_be_timed(self, current: _Open, outcomes: Sequence[Outcome]) -> bool:
        """Whether a predicted step time will do for a candidate that is trained."""
        assert self.prediction is not None
        digest = current.candidate.digest
        if digest not in self._untimed:
            values = values_of(current.candidate, outcomes)
            reason = self.prediction.irrelevant(values, self.evaluations_so_far())
            if reason is not None:
                self.ledger.decide(digest, "prediction", reason)
                self._untimed.add(digest)
        return digest in self._untimed

    def _passes_gate(self, current: _Open) -> bool:
        """Whether a candidate is worth training, which is asked once: the answer stays on record."""
        digest = current.candidate.digest
        if digest not in self._gated and self.gate is not None:
            reason = self.gate.refuses(
                current.genes,
                current.values,
                [evaluation for evaluation in self.evaluations_so_far() if evaluation.is_complete],
            )
            if reason is not None:
                self.ledger.decide(digest, "gate", reason)
                self._gated.add(digest)
        return digest not in self._gated

    def evaluations_so_far(self) -> list[Evaluation]:
        """What earlier runs and this one have found, in the order of proposal."""
        return [*self.earlier, *(self._settled[index] for index in sorted(self._settled))]

    def _outcome_of(
        self,
        jobs: Sequence[TimeJob | TrainJob],
        current: _Open,
        may_begin: Callable[[_Open], bool] = lambda _: True,
    ) -> list[Outcome] | None:
        """The outcomes of all jobs, from the ledger or another run; None once missing ones are submitted.

        The first failure is enough: what is missing beside it is not run. Of jobs of which none has ended
        or been submitted, `may_begin` says whether they are to be.
        """
        outcomes, missing = [], []
        for job in jobs:
            outcome = self.ledger.find(job.key) or self.reuse.copy(
                job.key, self.ledger, accepts=self._scale.fits
            )
            if outcome is None:
                missing.append(job)
            else:
                self._scale.learn(outcome)
                outcomes.append(outcome)
        if not missing or any(outcome.status not in {"ok", "unstable"} for outcome in outcomes):
            return outcomes
        if not outcomes and not current.waiting and not may_begin(current):
            return None
        for job in missing:
            if job.key not in current.waiting:
                current.waiting[job.key] = job
                self._submit(job)
        return None

    def _settle(self, index: int, outcomes: Sequence[Outcome], ending: Ending) -> None:
        current = self._open.pop(index)
        evaluation = evaluation_of(
            current.candidate, current.genes, outcomes, ending, with_curve=self.early_stopping is not None
        )
        self._settled[index] = evaluation
        if evaluation.is_complete and not self._is_recovering:  # after it, at once: see `Standing.extend`
            self._standing.add(evaluation.values)
        try:
            self._failures.settle(outcomes, is_new=not self._is_recovering)
        finally:
            if not self._is_recovering:  # after it, once: a report looks at the whole front
                self._report()

    # --- the executor --------------------------------------------------------------------------------------

    def _submit(self, job: TimeJob | TrainJob) -> None:
        self._running[job.key] = None
        self.executor.submit(self._scale.applied_to(job) if isinstance(job, TimeJob) else job)

    def _wait(self) -> Sequence[Outcome | Partial]:
        """What has happened next. Once the user has asked to end, what is running is let finish and filed.

        Raises:
            KeyboardInterrupt: it has finished, or its time is up.
        """
        while not self.interruption.is_requested:
            if happened := self.executor.wait(LISTEN_SECONDS):
                return self._ended(happened)
        self._report()
        # Executors take jobs in order, so what has begun is among the oldest.
        begun = list(self._running)[: self.executor.capacity]
        while not self.interruption.is_overdue and any(key in self._running for key in begun):
            for event in self._ended(self.executor.wait(LISTEN_SECONDS)):
                if isinstance(event, Outcome):
                    self._file(event)
                else:
                    self._consider(event)
        raise KeyboardInterrupt

    def _ended(self, events: Sequence[Outcome | Partial]) -> Sequence[Outcome | Partial]:
        for event in events:
            if isinstance(event, Outcome):
                self._running.pop(event.key, None)
        return events

    # --- outcomes ------------------------------------------------------------------------------------------

    def _collect(self, events: Sequence[Outcome | Partial]) -> None:
        """File what has happened, then go on with the candidates it belongs to."""
        for event in events:
            if isinstance(event, Partial):
                self._consider(event)
                continue
            self._file(event)
            for index, current in list(self._open.items()):
                if current.waiting.pop(event.key, None) is not None and not current.waiting:
                    self._advance(index)

    def _file(self, outcome: Outcome) -> None:
        self.ledger.record(outcome)
        self.spool.remove(outcome.key)
        self._scale.learn(outcome)

    def _consider(self, report: Partial) -> None:
        """Let a training that has reported go on, or stop it and the candidate's others."""
        if self.early_stopping is None:
            return
        for current in self._open.values():
            job = current.waiting.get(report.key)
            if isinstance(job, TrainJob):
                values = {**current.values, **report.metrics}
                reason = self.early_stopping.judge(report.key, job.seed, report.step, values)
                if reason is not None:
                    self.ledger.decide(current.candidate.digest, "halving", reason)
                    for key in current.waiting:
                        self.executor.stop(key)
                    return
        self.executor.go_on(report.key)

    def _remember_rungs(self) -> None:
        """Enter the rungs that trainings have passed before this session."""
        if self.early_stopping is None:
            return
        known = {each.digest: each.values for each in self._settled.values()}
        known |= {each.candidate.digest: each.values for each in self._open.values()}
        for candidate in self.ledger.candidates():
            for job in self.evaluations.train_jobs(candidate):
                outcome = self.ledger.find(job.key)
                for step, metrics in learning_curve(outcome) if outcome is not None else ():
                    self.early_stopping.judge(job.key, job.seed, step, {**known[candidate.digest], **metrics})

    def _recover(self) -> None:
        """Take in what an earlier session left: outcomes in the spool, candidates in the ledger."""
        for outcome in self.spool.read_all():
            self._file(outcome)
        for outcome in self.ledger.first_timings():
            self._scale.learn(outcome)
        self._is_recovering = True
        decisions = self.ledger.decisions()
        self._gated = {each.digest for each in decisions if each.kind == "gate"}
        self._untimed = {each.digest for each in decisions if each.kind == "prediction"}
        recovery = Recovery(
            ledger=self.ledger,
            space=self.space,
            evaluations=self.evaluations,
            with_curves=self.early_stopping is not None,
        )
        with without_collection():
            for candidate in self.ledger.candidates():
                settled = recovery.settled(candidate)
                if settled is None:
                    self._start(candidate, architecture_from_document(candidate.architecture))
                else:
                    self._take_in(candidate, settled)
        self._standing.extend([each.values for each in self._settled.values() if each.is_complete])
        self._remember_rungs()
        self._is_recovering = False

    def _take_in(self, candidate: Candidate, settled: Settled) -> None:
        """Enter what an earlier session has settled."""
        self._proposed = candidate.proposal_index + 1
        self._digests.add(candidate.digest)
        self._settled[candidate.proposal_index] = settled.evaluation
        self._failures.settle(settled.outcomes, is_new=False)

    def _remeasure_front(self) -> None:
        """Time the members of the front once more: the best of many noisy times is too good to be true."""
        if self.evaluations.estimate is not None:  # nothing was measured, and an estimate does not scatter
            return
        measured = [evaluation for evaluation in self._settled.values() if evaluation.is_complete]
        front = non_dominated([evaluation.values for evaluation in measured], self.objectives)
        candidates = {candidate.digest: candidate for candidate in self.ledger.candidates()}
        waiting = set()
        for position in front:
            candidate = candidates[measured[position].digest]
            arch = architecture_from_document(candidate.architecture)
            for job in self.evaluations.time_jobs(candidate, arch, repeat=1):
                if self.ledger.find(job.key) is None:
                    waiting.add(job.key)
                    self._submit(job)
        while waiting:
            for event in self._wait():
                if isinstance(event, Outcome):
                    # A second timing may confirm or correct the first; if it failed, the first one stands.
                    if event.status in {"ok", "unstable"}:
                        self.ledger.record(event)
                    self.spool.remove(event.key)
                    waiting.discard(event.key)

    # --- progress ------------------------------------------------------------------------------------------

    def _is_out_of_time(self) -> bool:
        return self.budget.seconds is not None and self.clock() - self._started >= self.budget.seconds

    def _report(self) -> None:
        done, total = len(self._settled), self.budget.candidates
        elapsed = self.clock() - self._started
        self.progress.update(
            ProgressEvent(
                evaluated=done,
                total=total,
                failed=self._failures.failed,
                front_size=len(self._standing.front),
                hypervolume=self._standing.hypervolume(),
                elapsed_seconds=elapsed,
                eta_seconds=elapsed / done * (total - done) if done else None,
                is_ending=self.interruption.is_requested,
                is_estimated=self.evaluations.estimate is not None,
            )
        )
