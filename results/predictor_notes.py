"""How well a search's own predictors did, as it noted while it went on.

A note is an entry of `log.jsonl` with the event `predictors`: `evaluated` is how many candidates had been
evaluated then, and `quality` holds figures by quantity, such as {"accuracy": {"kendall_tau": 0.81}}, of
predictions for networks that were held out of the fit.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.finding import read_log

if TYPE_CHECKING:
    import pandas as pd

PREDICTORS_EVENT = "predictors"
_FIRST = ("evaluated", "quantity")


def predictor_notes(path: Path) -> "pd.DataFrame":
    """A row for each note and quantity of the run in directory `path`; empty where it has no notes."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for entry in read_log(path, PREDICTORS_EVENT):
        for quantity, figures in (entry.get("quality") or {}).items():
            rows.append({"evaluated": entry.get("evaluated"), "quantity": quantity, **figures})
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    return pd.DataFrame(rows, columns=list(names))
