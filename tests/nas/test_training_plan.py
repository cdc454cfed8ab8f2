"""What a full training is resolved to, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest
from small_training import ARCH, DATA, make_small_plan

from nas.errors import ConfigError
from nas.training.plan import TrainingChanges, TrainingPlan, make_training_plan, plan_from_document
from proxies.progressive import progressive_preset
from proxies.recipe_document import load_recipe
from search_spaces.document import load_architecture


def planned(name: str = "effnetv2-b0-like", recipe: str = "effnetv2", **changes: Any) -> TrainingPlan:
    arch = load_architecture("efficientnetv2-b0") if name == "effnetv2-b0-like" else load_architecture(name)
    return make_training_plan(
        arch, data=DATA, recipe=recipe, changes=TrainingChanges(**changes), hardware="cpu"
    )


def test_a_plan_is_what_its_document_says() -> None:
    plan = make_small_plan(seed=3)
    assert plan_from_document(plan.document(), "train.yaml") == plan


def test_a_document_of_something_else_is_refused() -> None:
    document = make_small_plan().document()
    for lost in ("architecture", "recipe", "data", "hardware", "seed", "threads"):
        short = {key: value for key, value in document.items() if key != lost}
        with pytest.raises(ConfigError, match=f"train.yaml: '{lost}' is missing"):
            plan_from_document(short, "train.yaml")


def test_sizes_and_regularisation_are_the_architectures_unless_a_recipe_says() -> None:
    plan = planned()
    assert (plan.train_resolution, plan.eval_resolution, plan.load_resolution) == (192, 224, 224)
    assert (plan.dropout, plan.drop_path) == (0.2, 0.2)
    pretraining = planned(recipe="imagenet-21k")
    assert (pretraining.train_resolution, pretraining.dropout, pretraining.drop_path) == (224, 1e-6, 0.0)
    assert planned(resolution=64).load_resolution == planned(resolution=64).train_resolution == 64


def test_images_are_read_as_large_as_the_schedule_needs() -> None:
    plan = planned(progressive="paper/s")
    assert plan.load_resolution == 300
    assert plan.recipe.recipe.progressive == progressive_preset("paper/s")
    document = load_recipe("effnetv2")
    rising = document.model_copy(update={"recipe": plan.recipe.recipe})
    without = make_training_plan(
        ARCH, data=DATA, recipe=rising, changes=TrainingChanges(progressive="none"), hardware="cpu"
    )
    assert without.recipe.recipe.progressive is None


def test_another_batch_brings_its_learning_rate() -> None:
    recipe = planned(batch_size=256).recipe.recipe
    assert (recipe.batch_size, recipe.learning_rate) == (256, pytest.approx(0.016))
    assert planned(batch_size=256, learning_rate=0.5).recipe.recipe.learning_rate == 0.5


def test_a_shorter_training_keeps_the_shape_of_its_schedule() -> None:
    """The learning rate at every part of the training is the long one's."""
    long, short = planned().recipe.recipe, planned(epochs=35).recipe.recipe
    for part in (0.005, 0.1, 0.5, 0.9):
        rates = [
            recipe.learning_rate_factor(
                int(part * recipe.epochs * 100), recipe.epochs * 100, steps_per_epoch=100
            )
            for recipe in (long, short)
            if recipe.epochs is not None
        ]
        assert rates[0] == pytest.approx(rates[1], rel=0.03)
    tuned = planned(recipe="finetune-small", epochs=3).recipe.recipe
    assert (tuned.epochs, tuned.steps, tuned.warmup_epochs) == (3, None, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16"}, "precision fp16 is not for a CPU"),
        ({"precision": "bf17"}, "recipe effnetv2: precision"),
        ({"learning_rate": -1.0}, "recipe effnetv2: learning_rate"),
        ({"batch_size": 7, "accumulate": 2}, "batch_size 7 has no 2 equal parts"),
        ({"progressive": "paper/xs"}, "paper/s"),
        ({"epochs": 2, "progressive": "paper/s"}, "4 progressive stages do not fit"),
    ],
)
def test_changes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(**changes)


def test_precision_and_layout_are_the_profiles_unless_the_recipe_says() -> None:
    assert planned().recipe.recipe.precision == "fp32"
    assert planned(precision="bf16").recipe.recipe.precision == "bf16"
    said = load_recipe("quick")
    recipe = type(said.recipe).model_validate(
        {**said.recipe.model_dump(exclude_unset=True), "precision": "bf16", "memory_format": "contiguous"}
    )
    plan = make_training_plan(
        ARCH, data=DATA, recipe=said.model_copy(update={"recipe": recipe}), hardware="cpu"
    )
    assert (plan.recipe.recipe.precision, plan.recipe.recipe.memory_format) == ("bf16", "contiguous")


def test_an_architecture_that_was_edited_or_data_that_changed_is_no_resume() -> None:
    document = make_small_plan().document()
    with pytest.raises(ConfigError, match="the data has changed"):
        plan_from_document({**document, "data": {**document["data"], "seed": 7}}, "train.yaml")
    edited = replace(ARCH, head=ARCH.head.model_copy(update={"width": 40})).to_document()
    with pytest.raises(ConfigError, match="the architecture was edited"):
        plan_from_document({**document, "architecture": {**edited, "digest": ARCH.digest}}, "train.yaml")
