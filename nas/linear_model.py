"""A robust linear model of a positive quantity: ridge regression with Huber's loss on relative errors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HUBER = 1.5
SMALLEST = 1e-3
"""No prediction is below this part of the mean of the fitted values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Ridge with Huber's loss on relative errors: squared errors weighted by 1 / value^2, outliers less."""

    shrinkage: float
    coefficients: Floats

    def log(self, rows: Floats) -> Floats:
        """The logarithms of the predicted values, which are positive."""
        values = self.coefficients[0] + rows @ self.coefficients[1:]
        result: Floats = np.log(np.maximum(values, SMALLEST))
        return result


def fit_linear(rows: Floats, values: Floats, penalty: Floats, shrinkages: Floats) -> LinearModel:
    """The shrinkage with the least leave-one-out error, clipped so that a few outliers do not choose it."""
    design = np.column_stack([np.ones(len(rows)), rows])
    best: tuple[float, float, Floats] | None = None
    for shrinkage in shrinkages.tolist():
        weights = base = 1.0 / values**2
        ridge = np.diag(np.concatenate([[1e-9], penalty * shrinkage]))
        for _ in range(8):
            hat = np.linalg.solve(
                design.T @ (design * weights[:, None]) + ridge, (design * weights[:, None]).T
            )
            coefficients = hat @ values
            errors = np.abs(values - design @ coefficients) * np.sqrt(base)
            spread = 1.4826 * float(np.median(errors)) + 1e-12
            weights = base * np.minimum(1.0, HUBER * spread / np.maximum(errors, 1e-12))
        leverage = np.einsum("ij,ji->i", design, hat)
        left_out = errors / (1.0 - np.minimum(leverage, 0.99))
        score = float(np.minimum(left_out, 3.0 * np.median(left_out)).mean())
        if best is None or score < best[0]:
            best = (score, shrinkage, coefficients)
    assert best is not None
    return LinearModel(shrinkage=best[1], coefficients=best[2])
