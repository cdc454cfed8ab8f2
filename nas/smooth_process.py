"""A Gaussian process of a logarithm over work that is not itself taken the logarithm of.

Linear and smooth in the totals, and again in the runs' quantities, each with its own scale and length, found
by gradients. `nas.gaussian_process` sees choices and logarithms of work instead, on a grid: devices are
nearly linear in the work, accuracies are not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothProcess:
    """Gaussian process of the logarithm: linear and smooth in totals, and in the runs' quantities."""

    parameters: Floats
    totals: Floats
    runs: Floats
    offset: float
    weights: Floats

    def log(self, totals: Floats, runs: Floats) -> Floats:
        """Expected logarithms, (N,)."""
        kernel = _kernel(self.parameters, _products(totals, runs, self.totals, self.runs))
        result: Floats = self.offset + kernel @ self.weights
        return result


def _products(totals: Floats, runs: Floats, to_totals: Floats, to_runs: Floats) -> tuple[Floats, ...]:
    def squared(left: Floats, right: Floats) -> Floats:
        distance = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2.0 * left @ right.T
        result: Floats = np.maximum(distance, 0.0)
        return result

    return totals @ to_totals.T, runs @ to_runs.T, squared(totals, to_totals), squared(runs, to_runs)


def _kernel(parameters: Floats, products: tuple[Floats, ...]) -> Floats:
    """Parameters are logarithms: linear scales of totals and runs, smooth scale and length of each, noise."""
    linear, run_linear, smooth, length, run_smooth, run_length, _ = np.exp(parameters)
    totals, runs, distance, run_distance = products
    result: Floats = (
        linear * totals
        + run_linear * runs
        + smooth * np.exp(-distance / (2.0 * length**2))
        + run_smooth * np.exp(-run_distance / (2.0 * run_length**2))
    )
    return result


# Parameters in the order that `_kernel` names them: logarithms, the last of the noise.
START = np.array([-1.0, -3.0, -2.0, 1.0, -3.0, 1.0, -6.0])
BOUNDS = [(-12.0, 4.0)] * 6 + [(-14.0, 0.0)]


def fit_process(
    totals: Floats, runs: Floats, logs: Floats, start: Floats = START, iterations: int = 60
) -> SmoothProcess:
    """The process of the greatest marginal likelihood, from `start`, under a weak prior around 1."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    products = _products(totals, runs, totals, runs)
    offset = float(logs.mean())
    centred = logs - offset

    def noisy(parameters: Floats) -> Floats:
        noise: Floats = (np.exp(parameters[-1]) + 1e-8) * np.eye(len(logs))
        return _kernel(parameters, products) + noise

    def objective(parameters: Floats) -> float:
        try:
            factor = cho_factor(noisy(parameters), lower=True)
        except LinAlgError:
            return 1e6
        fit = 0.5 * float(centred @ cho_solve(factor, centred))
        return fit + float(np.log(np.diag(factor[0])).sum()) + 0.002 * float((parameters**2).sum())

    found = minimize(objective, start, method="L-BFGS-B", bounds=BOUNDS, options={"maxiter": iterations})
    parameters: Floats = np.asarray(found.x if iterations else start)
    weights = cho_solve(cho_factor(noisy(parameters), lower=True), centred)
    return SmoothProcess(parameters=parameters, totals=totals, runs=runs, offset=offset, weights=weights)
