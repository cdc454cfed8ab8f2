"""Everything that `results` raises, as one tree. Each message is one sentence: value, place, remedy.

    ResultsError
      LedgerError           not a ledger, damaged, of a newer schema, in use by another writer
        LedgerWriteError    the disk is full or refuses; nothing acknowledged is lost, the search can resume
      RunError              no such run, a directory that cannot take one
        RunLockedError      another process is writing to this run
        RunMismatchError    a resumed run was given another configuration
        RunWriteError       a file of the run could not be written; the search can resume
        UnlikeRunsError     runs that differ in what is to be compared

Values that make no sense (an unknown direction, a reference without an objective) are ValueError.
"""


class ResultsError(Exception):
    """Something is wrong with recorded results, or with the place that keeps them."""


class LedgerError(ResultsError):
    """The ledger cannot be used."""


class LedgerWriteError(LedgerError):
    """The ledger could not be written. What was acknowledged before is safe."""


class RunError(ResultsError):
    """The run directory cannot be used."""


class RunLockedError(RunError):
    """Another process is writing to this run."""


class RunMismatchError(RunError):
    """The configuration differs from the one that the run was started with."""


class RunWriteError(RunError):
    """A file of the run could not be written. The ledger is not affected."""


class UnlikeRunsError(RunError):
    """The runs differ in what the quantities to compare depend on."""
