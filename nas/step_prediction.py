"""A learned predictor in the place of timings, where its interval is narrow and the answer does not matter.

A prediction is no measurement: it is filed as an estimate, under names of its own, and is on no front. It
takes the place of a timing only where a measured network is better even at the fast end of its interval.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.predictor import COVERAGE, Predictor, fit_predictor
from nas.strategies.protocol import Evaluation
from proxies.records import METRIC_NAMES, RECORD_SCHEMA, Outcome, TimeJob
from results.pareto import Objective, dominates
from search_spaces.space import Genes, Space
from search_spaces.workload import PHYSICAL_QUANTITIES

FEWEST = 40
"""Timings before anything is predicted: of fewer, the interval itself is uncertain."""
GROWTH = 1.25
"""How many times as many timings there must be for a new fit."""
STEP, PREDICTED = "step_ms", "predicted_step_ms"


@dataclass(slots=True)
class StepPrediction:
    """Predicts step times from this run's own timings; `width` is the widest half-width that counts as known.

    `objectives` are the front's: what a prediction must not decide.
    """

    space: Space
    objectives: tuple[Objective, ...]
    width: float
    fewest: int = FEWEST
    _predictor: Predictor | None = field(default=None, init=False)
    _fitted: int = field(default=0, init=False)
    _range: tuple[float, float] = field(default=(0.0, 0.0), init=False)

    def predict(self, job: TimeJob, genes: Genes, known: Sequence[Evaluation]) -> Outcome | None:
        """The outcome of a timing as predicted from `known`; None where it has to be timed.

        That is: with too few timings, an interval wider than `width`, or a value outside of what was timed.
        """
        self._fit([each for each in known if STEP in each.values])
        if self._predictor is None or self._half_width > self.width:
            return None
        found = self._predictor.predict(self.space.physical_features(genes[None]))
        value = float(found.values[0])
        if not self._range[0] <= value <= self._range[1]:
            return None
        metrics = {
            PREDICTED: value,
            f"{PREDICTED}_low": float(found.low[0]),
            f"{PREDICTED}_high": float(found.high[0]),
        }
        return Outcome(
            key=prediction_key(job),
            kind="estimate",
            digest=job.digest,
            status="ok",
            metrics=metrics,
            details={
                "predicted": True,
                "basis": f"fitted to {self._fitted} timings of this run; {COVERAGE:.0%} interval",
                "settings": job.settings.model_dump(),
                "hardware_fingerprint": job.hardware_fingerprint,
            },
        )

    def irrelevant(self, values: Mapping[str, float], known: Sequence[Evaluation]) -> str | None:
        """Why a network of these values (among them a predicted step time) need not be timed; None: it must.

        It need not where one that was measured is better even at the fast end of the interval.
        """
        hoped = {**values, STEP: values[f"{PREDICTED}_low"]}
        for each in known:
            if each.is_complete and dominates(each.values, hoped, self.objectives):
                low, high = values[f"{PREDICTED}_low"], values[f"{PREDICTED}_high"]
                return (
                    f"not timed: {low:.4g} to {high:.4g} ms are predicted, "
                    f"and {each.digest[:12]} is better even at {low:.4g} ms"
                )
        return None

    @property
    def _half_width(self) -> float:
        """Half of the interval, relative to the value."""
        return float(np.expm1(self._predictor.half_width)) if self._predictor is not None else np.inf

    def _fit(self, timed: Sequence[Evaluation]) -> None:
        if len(timed) < max(self.fewest, GROWTH * self._fitted):
            return
        self._fitted = len(timed)
        times = np.array([each.values[STEP] for each in timed])
        features = self.space.physical_features(np.stack([each.genes for each in timed]))
        self._predictor = fit_predictor(features, times, num_totals=len(PHYSICAL_QUANTITIES))
        self._range = float(times.min()), float(times.max())


def prediction_key(job: TimeJob) -> str:
    """What the prediction of a timing is filed under; never the key of the timing."""
    text = json.dumps(["prediction", RECORD_SCHEMA, job.key], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def decided_by_timing(names: Sequence[str]) -> list[str]:
    """Of the quantities, those that only a timing gives and no prediction replaces."""
    prefixes = tuple(f"{time}_" for time, _ in METRIC_NAMES.values())
    also = ("peak_memory_bytes", "images_per_second")
    return [name for name in names if name != STEP and (name.startswith(prefixes) or name.endswith(also))]
