"""What can go wrong with a search as a whole. Every text is one sentence with the remedy.

NasError
|-- ConfigError          a configuration that cannot be run (also a ValueError)
|-- ScalingError         a rule of scaling that does not fit (also a ValueError); see nas.scaling
|-- ExportError          a network that cannot leave in the form that was asked for
|-- StoppedEarlyError    the search stopped before its budget and can be resumed
`-- NothingMeasuredError every candidate failed, so there is no front
    `-- NothingFeasibleError   every candidate broke a limit
"""


class NasError(Exception):
    """Base of the errors of a search."""


class ConfigError(NasError, ValueError):
    """A configuration that cannot be run: the value, the place, the remedy."""


class ExportError(NasError):
    """A network that cannot leave in the form that was asked for: what stands against it, and the remedy."""


class StoppedEarlyError(NasError):
    """The search stopped before its budget was spent; everything measured is kept and it can be resumed."""


class NothingMeasuredError(NasError):
    """Not one candidate could be measured; says what they failed of."""


class NothingFeasibleError(NothingMeasuredError):
    """Not one candidate kept the limits; says which it broke, and by how much."""
