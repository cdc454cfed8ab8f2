"""A stand-in for the pynvml module: cards as plain data."""

from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 1024**3


class FakeNvmlError(Exception):
    pass


@dataclass
class Card:
    name: str
    memory_gib: float
    uuid: str
    mig: bool | None = None  # None: the card does not know the question
    pids: list[int] = field(default_factory=list)
    throttle_bits: int = 0


class FakeNvml:
    NVMLError = FakeNvmlError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *cards: Card) -> None:
        self.cards = cards

    def nvmlSystemGetDriverVersion(self):
        return b"580.65.06"

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetName(self, card):
        return card.name

    def nvmlDeviceGetUUID(self, card):
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card):
        return SimpleNamespace(total=int(card.memory_gib * GIB))

    def nvmlDeviceGetMigMode(self, card):
        if card.mig is None:
            raise FakeNvmlError("Not Supported")
        return [int(card.mig), int(card.mig)]

    def nvmlDeviceGetCurrentClocksEventReasons(self, card):
        return card.throttle_bits

    def nvmlDeviceGetComputeRunningProcesses(self, card):
        return [SimpleNamespace(pid=pid) for pid in card.pids]

    def nvmlDeviceGetPowerUsage(self, card):
        raise FakeNvmlError("Not Supported")

    def nvmlDeviceGetClockInfo(self, card, kind):
        return 1410

    def nvmlDeviceGetTemperature(self, card, sensor):
        return 41
