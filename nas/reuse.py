"""What earlier runs have measured already: the same job is never done twice."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxies.records import Outcome
from results.directory import LEDGER_NAME
from results.errors import ResultsError
from results.ledger import Ledger


@dataclass(slots=True)
class Reuse:
    """The ok outcomes of other runs' ledgers, by key. `skipped` says which ledgers could not be read."""

    ledgers: dict[str, tuple[str, Path]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Iterable[Path], *, files: Sequence[str] = (LEDGER_NAME,)) -> "Reuse":
        """Index the ledgers of these run directories; one that cannot be read is left out, and said."""
        reuse = cls()
        for path in (run / name for run in runs for name in files):
            if not path.exists():
                continue
            try:
                with Ledger.open(path, read_only=True) as ledger:
                    keys = ledger.keys(status="ok")
            except ResultsError as error:
                reuse.skipped.append(str(error))
                continue
            for key in keys:
                reuse.ledgers.setdefault(key, (path.parent.name, path))
        return reuse

    def copy(
        self, key: str, ledger: Ledger, *, accepts: Callable[[Outcome], bool] = lambda outcome: True
    ) -> Outcome | None:
        """Copy the outcome under `key` into `ledger`, with its origin; None when no run has it, or it is
        not accepted.
        """
        found = self.ledgers.get(key)
        if found is None:
            return None
        name, path = found
        with Ledger.open(path, read_only=True) as source:
            outcome = source.find(key)
        if outcome is None or not accepts(outcome):
            return None
        ledger.copy_matching(path, {key}, origin=name)
        return ledger.find(key)
