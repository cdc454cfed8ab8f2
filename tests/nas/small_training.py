"""A training of a second or less: a small network on scanned digits, with everything that has a state."""

import signal
from dataclasses import dataclass, field

from nas.training.plan import TrainingPlan, make_training_plan
from nas.training.progress import TrainingEvent
from proxies.data.digits import Digits
from proxies.recipe import TrainingRecipe
from proxies.recipe_document import RecipeDocument
from search_spaces.architecture import Architecture, Head, Input, Recipe, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

ARCH = Architecture(
    name="small",
    input=Input(channels=1),
    stem=Stem(width=8, stride=1),
    stages=(
        Stage(stride=1, depth=1, width=8, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=1, width=16, block=MBConv(expand=2)),
    ),
    head=Head(width=32),
    recipe=Recipe(eval_resolution=8, drop_path=0.1),
)
DATA = Digits(channels=1)
RECIPE = RecipeDocument(
    schema_version="nas.recipe/1",
    name="rising",
    recipe=TrainingRecipe.model_validate(
        {
            "epochs": 4,
            "batch_size": 256,
            "optimizer": "rmsprop_tf",
            "learning_rate": 0.1,
            "weight_decay": 1e-5,
            "schedule": "staircase",
            "warmup_epochs": 1,
            "ema": 0.9,
            "shift": 0.1,
            "label_smoothing": 0.1,
            "accumulate": 2,
            "progressive": {
                "stages": 2,
                "size": {"from": 6, "to": 8},
                "mixup": {"from": 0.0, "to": 0.2},
                "cutmix": {"from": 0.0, "to": 0.2},
                "dropout": {"from": 0.0, "to": 0.2},
            },
        }
    ),
)
"""Four steps an epoch, two stages of eight steps."""

TOTAL_STEPS = 16


def make_small_plan(seed: int = 0) -> TrainingPlan:
    return make_training_plan(ARCH, data=DATA, recipe=RECIPE, hardware="cpu", seed=seed, threads=1)


@dataclass
class Recorder:
    """Keeps what it is told."""

    events: list[TrainingEvent] = field(default_factory=list)

    def update(self, event: TrainingEvent) -> None:
        self.events.append(event)


@dataclass
class SignalsAt:
    """Sends this process a signal at the first report from `step` on."""

    step: int
    number: int = signal.SIGKILL

    def update(self, event: TrainingEvent) -> None:
        if event.step >= self.step:
            self.step = 2**63
            signal.raise_signal(self.number)
