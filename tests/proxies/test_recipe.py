"""Recipes: published learning rates, and fingerprints that old measurements are found by."""

import hashlib
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.recipe import TrainingRecipe
from proxies.task import load_task

EFFNETV2 = TrainingRecipe(
    epochs=350,
    batch_size=4096,
    optimizer="rmsprop_tf",
    learning_rate=0.256,
    schedule="staircase",
    warmup_epochs=5.0,
)
STEPS = 306
"""Whole batches of 4,096 in an epoch of the released code's 1,256,144 training images."""


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        *((0.0, 0.0), (2.5, 0.128), (5.0, 0.240870), (10.0, 0.226635), (87.5, 0.085511)),
        *((175.0, 0.028563), (262.5, 0.009255), (349.9, 0.003091)),
    ],
)
def test_the_learning_rate_is_effnetv2s(epoch: float, rate: float) -> None:
    """Tan & Le 2021, section 4.1: 0.256, 5 epochs of warm-up, * 0.97 every 2.4 epochs counted from 0."""
    assert EFFNETV2.steps_per_epoch(1_256_144) == STEPS
    factor = EFFNETV2.learning_rate_factor(
        round(epoch * STEPS), EFFNETV2.total_steps(1_256_144), steps_per_epoch=STEPS
    )
    assert factor * EFFNETV2.learning_rate == pytest.approx(rate, abs=6e-7)


def test_stairs_are_where_whole_multiples_are() -> None:
    factors = [EFFNETV2.learning_rate_factor(step, 3500, steps_per_epoch=10) for step in range(50, 3500)]
    stairs = [step for step, (a, b) in enumerate(pairwise(factors), 51) if b < a]
    assert stairs == list(range(72, 3500, 24))


@given(
    steps=st.integers(1, 300),
    warmup=st.floats(0.0, 0.99),
    schedule=st.sampled_from(["cosine", "linear", "constant", "staircase"]),
)
def test_every_factor_is_between_0_and_1(steps: int, warmup: float, schedule: str) -> None:
    recipe = TrainingRecipe(steps=steps, warmup=warmup, schedule=schedule)
    factors = [recipe.learning_rate_factor(step, steps, steps_per_epoch=7) for step in range(steps)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)


def test_warm_up_longer_than_the_training_is_no_division_by_zero() -> None:
    recipe = TrainingRecipe(epochs=2, warmup_epochs=2.0)
    assert recipe.learning_rate_factor(20, 20, steps_per_epoch=10) == pytest.approx(1.0)


GOLDEN = {
    "default": "eb71d73f44ec6306",
    "paper": "5690cdababe6fa24",
    "quick": "6a2a9652ec6b4f6a",
    "reduced": "5a0629412fc9c954",
    "reduced-quick": "6a2a9652ec6b4f6a",
}
"""sha256, in short, of what a recipe adds to its task's fingerprint. Runs hold it, so it never changes."""


@pytest.mark.parametrize("name", GOLDEN)
def test_shipped_recipes_keep_their_fingerprints(name: str) -> None:
    task = load_task(name, data="digits" if name == "paper" else None)
    material = task.document.recipe.fingerprint_material()  # type: ignore[attr-defined]
    text = json.dumps(material, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[name]


def test_a_later_field_counts_where_it_is_used() -> None:
    plain = TrainingRecipe(epochs=4)
    assert "mixup" not in plain.fingerprint_material()
    assert plain.model_copy(update={"mixup": 0.2}).fingerprint_material()["mixup"] == 0.2
    text = {"epochs": 4, "progressive": {"size": {"from": 16, "to": 32}}}
    material = TrainingRecipe.model_validate(text).fingerprint_material()
    assert material["progressive"]["size"] == {"from": 16, "to": 32, "first": "start"}


def test_a_schedule_by_name_is_that_schedule() -> None:
    named = TrainingRecipe.model_validate({"epochs": 350, "progressive": "released-code/m"})
    assert named.stage_settings(3, 999).resolution == 384
    assert [named.stage(epoch * 10, 640) for epoch in (0, 86, 87, 349)] == [0, 0, 1, 3]
    assert TrainingRecipe(epochs=4, mixup=0.5).stage_settings(0, 48)[:4] == (48, 0.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 3, "progressive": "paper/s"}, "4 progressive stages do not fit in a training of 3"),
        ({"epochs": 3, "batch_size": 10, "accumulate": 3}, "batch_size 10 has no 3 equal parts"),
        ({"epochs": 9, "progressive": "paper/x"}, "'paper/x' is unknown"),
        ({"epochs": 9, "ema": 1.0}, "less than 1"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingRecipe.model_validate(fields)
