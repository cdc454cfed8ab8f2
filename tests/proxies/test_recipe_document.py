"""The shipped recipes of full trainings have the published numbers; a user's file is checked."""

from pathlib import Path

import pytest

from proxies.recipe_document import UnknownRecipeError, load_recipe, recipe_names
from search_spaces.nodes import DocumentError

IMAGENET = 1_281_167
STEPS = 312
"""Whole batches of 4,096 in an epoch of ImageNet."""


def test_every_shipped_recipe_is_read_under_its_name() -> None:
    families = ["coatnet", "coatnet-finetune", "parameternet", "parameternet-22k", "parameternet-finetune"]
    others = ["adamw", "effnetv2", "finetune", "finetune-small", "imagenet-21k", "quick"]
    assert recipe_names() == sorted(families + others)
    for name in recipe_names():
        assert load_recipe(name).name == name
        assert load_recipe(name).notes


@pytest.mark.parametrize(
    ("epoch", "rate"),
    # Of EfficientNetV2's released code, which counts the decay from epoch 0.
    [
        (0, 0.0),
        (2.5, 0.128),
        (5, 0.240870),
        (10, 0.226635),
        (87.5, 0.085511),
        (175, 0.028563),
        (262.5, 0.009255),
    ],
)
def test_the_learning_rate_of_effnetv2_is_the_published_one(epoch: float, rate: float) -> None:
    recipe = load_recipe("effnetv2").recipe
    assert recipe.steps_per_epoch(IMAGENET) == STEPS
    total = recipe.total_steps(IMAGENET)
    factor = recipe.learning_rate_factor(int(epoch * STEPS), total, steps_per_epoch=STEPS)
    assert recipe.learning_rate * factor == pytest.approx(rate, abs=5e-7)


PUBLISHED = {  # epochs, batch, rate, weight decay, epochs of warm-up: CoAtNet's Table 10, ParameterNet's 1
    "coatnet": (300, 4096, 1e-3, 0.05, 10_000 / STEPS),
    "coatnet-finetune": (30, 512, 5e-5, 1e-8, 0.0),
    "parameternet": (300, 1024, 1e-3, None, 20),
    "parameternet-22k": (90, 4096, 4e-3, None, 5),
    "parameternet-finetune": (30, 512, 5e-4, 1e-8, 0.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_families_recipes_have_the_published_numbers(name: str) -> None:
    epochs, batch, rate, decay, warmup = PUBLISHED[name]
    recipe = load_recipe(name).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (epochs, batch, rate)
    assert recipe.optimizer == "adamw"
    if decay is not None:  # else it is not known
        assert recipe.weight_decay == decay
    warmed_up = recipe.warmup * recipe.epochs if recipe.warmup_epochs is None else recipe.warmup_epochs
    assert warmed_up == pytest.approx(warmup, abs=0.1)
    first = recipe.learning_rate_factor(0, 1000, steps_per_epoch=10)
    assert (first < 1.0) == (warmup > 0)


def test_the_published_settings() -> None:
    paper, pretraining = load_recipe("effnetv2"), load_recipe("imagenet-21k")
    assert paper.drop_path == 0.2
    recipe = paper.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.ema) == (350, 4096, 0.9999)
    assert (recipe.rho, recipe.momentum, recipe.epsilon, recipe.weight_decay) == (0.9, 0.9, 1e-3, 1e-5)
    assert recipe.learning_rate == pytest.approx(0.016 * recipe.batch_size / 256)
    assert (recipe.label_smoothing, recipe.crop_area, recipe.flip) == (0.1, 0.05, True)
    assert pretraining.recipe.learning_rate == pytest.approx(0.008 * pretraining.recipe.batch_size / 256)
    assert (pretraining.recipe.epochs, pretraining.recipe.label_smoothing) == (60, 0.0)
    assert (pretraining.train_resolution, pretraining.dropout, pretraining.drop_path) == (224, 1e-6, 0.0)
    for name in ("finetune", "finetune-small"):
        tuned = load_recipe(name).recipe
        assert tuned.learning_rate == pytest.approx(0.0005 * tuned.batch_size / 256)
        assert (tuned.schedule, tuned.ema, tuned.warmup_epochs) == ("constant", 0.9996, 1)
    assert load_recipe("finetune-small").recipe.steps == 10_000


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownRecipeError, match=r"'efnetv2' is unknown.*'effnetv2'"):
        load_recipe("efnetv2")


def test_a_wrong_field_is_named_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("schema: nas.recipe/1\nname: mine\nrecipe:\n  epochs: 3\n  batch: 8\n")
    with pytest.raises(DocumentError, match=r"mine.yaml:5:.*batch"):
        load_recipe(file)
    file.write_text("schema: nas.recipe/1\nname: mine\nrecipe: {batch_size: 8}\n")
    with pytest.raises(DocumentError, match="exactly one of the two"):
        load_recipe(file)
