"""One short training: a function of its arguments, and what its numbers mean."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from proxies.data.digits import Digits
from proxies.data.protocol import Split, Splits
from proxies.evaluation import evaluate
from proxies.feed import Augmentation, Feed, Standardisation
from proxies.optimizers import make_optimizer
from proxies.protocols import Diverged
from proxies.recipe import TrainingRecipe
from proxies.records import Decision
from proxies.training import seeded_build, train_classifier
from search_spaces.architecture import Architecture, Head, Input, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

CPU = torch.device("cpu")
ARCH = Architecture(
    input=Input(channels=1),
    stem=Stem(width=8),
    stages=(
        Stage(stride=1, depth=2, width=8, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=2, width=16, block=MBConv(expand=2)),
    ),
    head=Head(width=32),
)
FAST = TrainingRecipe(epochs=2, batch_size=32, optimizer="adamw", learning_rate=0.01, weight_decay=0.01)


class Reports:
    """Remembers reports; says stop after one of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.received: list[tuple[int, dict[str, float]]] = []
        self._stop_after = stop_after

    def __call__(self, step: int, metrics: object) -> Decision:
        assert isinstance(metrics, dict)
        self.received.append((step, metrics))
        return "stop" if step == self._stop_after else "continue"


@pytest.fixture(scope="module")
def digits() -> Splits:
    return Digits(channels=1).load(resolution=8)


@pytest.fixture(scope="module")
def few(digits: Splits) -> Splits:
    """160 training and 90 validation images."""
    return Splits(train=_first(digits.train, 160), validation=_first(digits.validation, 90), num_classes=10)


def _first(split: Split, count: int) -> Split:
    return Split(images_NCHW=split.images_NCHW[:count], labels_N=split.labels_N[:count])


def _train(
    splits: Splits, recipe: TrainingRecipe, *, seed: int = 0, report: Reports | None = None
) -> tuple[dict[str, float], nn.Module]:
    torch.set_num_threads(1)
    network = seeded_build(ARCH, 10, seed=seed, dropout=0.1, drop_path=0.2)
    metrics = train_classifier(network, splits, recipe, seed=seed, device=CPU, report=report or Reports())
    return dict(metrics), network


def test_it_learns(digits: Splits) -> None:
    metrics, _ = _train(digits, FAST.model_copy(update={"epochs": 3}))
    assert metrics["accuracy"] > 0.85


def test_it_learns_progressively(digits: Splits) -> None:
    fields = {
        "epochs": 4,
        "progressive": {"stages": 2, "size": {"from": 6, "to": 8}, "mixup": {"from": 0, "to": 0.1}},
    }
    recipe = TrainingRecipe.model_validate(FAST.model_dump(exclude_defaults=True) | fields)
    metrics, _ = _train(digits, recipe)
    assert metrics["accuracy"] > 0.85


def test_equal_arguments_give_equal_bits_whatever_the_global_generator(few: Splits) -> None:
    recipe = FAST.model_copy(update={"shift": 0.1, "flip": True})
    torch.manual_seed(1)
    first_reports, second_reports = Reports(), Reports()
    first, first_network = _train(few, recipe, report=first_reports)
    torch.manual_seed(2)
    second, second_network = _train(few, recipe, report=second_reports)
    assert first == second
    assert first_reports.received == second_reports.received
    for name, tensor in first_network.state_dict().items():
        assert torch.equal(tensor, second_network.state_dict()[name]), name


def test_another_seed_is_another_training(few: Splits) -> None:
    assert _train(few, FAST, seed=0)[0] != _train(few, FAST, seed=1)[0]


def test_the_global_generator_is_left_alone(few: Splits) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _train(few, FAST)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = seeded_build(ARCH, 10, seed=7).state_dict()
    torch.manual_seed(6)
    again, other = seeded_build(ARCH, 10, seed=7).state_dict(), seeded_build(ARCH, 10, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_metrics_mean_what_they_say(few: Splits) -> None:
    reports = Reports()
    metrics, network = _train(few, FAST, report=reports)
    assert set(metrics) == {
        "accuracy",
        "validation_loss",
        "train_loss",
        "train_loss_sum",
        "epochs",
        "images_seen",
    }
    assert metrics["epochs"] == 2
    assert metrics["images_seen"] == 2 * 160
    losses = [sent["train_loss"] for _, sent in reports.received]
    assert metrics["train_loss"] == losses[-1]
    assert metrics["train_loss_sum"] == pytest.approx(sum(losses))
    assert [step for step, _ in reports.received] == [1, 2]
    assert reports.received[-1][1] == {
        name: metrics[name] for name in ("accuracy", "validation_loss", "train_loss")
    }
    pixels = torch.from_numpy(few.train.images_NCHW).double()
    images = (torch.from_numpy(few.validation.images_NCHW).double() - pixels.mean()) / pixels.std(
        correction=0
    )
    network.eval()
    with torch.no_grad():
        logits = network(images.float())
    labels = torch.from_numpy(few.validation.labels_N)
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert metrics["validation_loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, labels).item(), rel=1e-4
    )


def test_interim_reports_rest_on_the_first_images_alone(few: Splits) -> None:
    reports = Reports()
    _train(few, FAST.model_copy(update={"curve_images": 7}), report=reports)
    assert reports.received[0][1]["accuracy"] * 7 == pytest.approx(
        round(reports.received[0][1]["accuracy"] * 7)
    )
    assert _train(few, FAST)[0] == _train(few, FAST.model_copy(update={"curve_images": 7}))[0]


def test_stop_ends_with_what_there_is(few: Splits) -> None:
    recipe = FAST.model_copy(update={"epochs": 5, "curve_images": 7})
    reports = Reports(stop_after=2)
    metrics, network = _train(few, recipe, report=reports)
    assert [step for step, _ in reports.received] == [1, 2]
    assert metrics["epochs"] == 2
    assert metrics["train_loss_sum"] == pytest.approx(sum(sent["train_loss"] for _, sent in reports.received))
    whole = evaluate(network, few.validation, recipe, standard=Standardisation.of(few.train), device=CPU)
    assert (metrics["accuracy"], metrics["validation_loss"]) == whole[:2]


def test_a_length_in_steps(few: Splits) -> None:
    """160 images at 32 are 5 steps an epoch; 7 steps are 1.4 epochs."""
    reports = Reports()
    recipe = FAST.model_copy(update={"epochs": None, "steps": 7})
    metrics, _ = _train(few, recipe, report=reports)
    assert metrics["epochs"] == pytest.approx(1.4)
    assert metrics["images_seen"] == 7 * 32
    (_, one), (_, two) = reports.received
    assert metrics["train_loss_sum"] == pytest.approx(one["train_loss"] + 0.4 * two["train_loss"])


def test_fewer_images_than_a_batch_are_one_batch(few: Splits) -> None:
    splits = Splits(train=_first(few.train, 20), validation=few.validation, num_classes=10)
    assert _train(splits, FAST)[0]["images_seen"] == 40


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_diverges(few: Splits, value: float) -> None:
    class Spoilt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 10))

        def forward(self, x_BCHW: Tensor) -> Tensor:
            return x_BCHW.mean((1, 2, 3))[:, None] * self.weight * value

    with pytest.raises(
        Diverged, match=r"the training loss was (nan|inf) at step \d+ of 10; lower the learning"
    ):
        train_classifier(Spoilt(), few, FAST, seed=0, device=CPU, report=Reports())


def test_an_absurd_learning_rate_diverges(few: Splits) -> None:
    recipe = FAST.model_copy(update={"optimizer": "sgd", "learning_rate": 1e30})
    with pytest.raises(Diverged, match="1e\\+30"):
        _train(few, recipe)


def test_the_wrong_number_of_channels_is_said(few: Splits) -> None:
    network = seeded_build(Architecture(stem=ARCH.stem, stages=ARCH.stages, head=ARCH.head), 10, seed=0)
    with pytest.raises(
        ValueError, match="the network reads 3 channels and the images have 1; set the data's"
    ):
        train_classifier(network, few, FAST, seed=0, device=CPU, report=Reports())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_nearly_alike(few: Splits, precision: str) -> None:
    """On the CPU. fp16 scales its loss; on accelerators these paths are untested until a GPU runs them."""
    full, _ = _train(few, FAST)
    mixed, network = _train(few, FAST.model_copy(update={"precision": precision}))
    assert mixed["train_loss"] == pytest.approx(full["train_loss"], rel=0.1)
    assert mixed != full
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_memory_format_changes_speed_and_not_results(few: Splits) -> None:
    recipe = FAST.model_copy(update={"epochs": 1})
    last, network = _train(few, recipe)
    contiguous, _ = _train(few, recipe.model_copy(update={"memory_format": "contiguous"}))
    assert last["train_loss"] == pytest.approx(contiguous["train_loss"], rel=1e-3)
    assert network.blocks[0].fused[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index,union-attr]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
def test_weight_decay_is_for_kernels_alone(optimizer: str) -> None:
    network = seeded_build(ARCH, 10, seed=0)
    made = make_optimizer(network, FAST.model_copy(update={"optimizer": optimizer, "weight_decay": 0.3}))
    decayed, others = made.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    kernels = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {id(parameter) for parameter in decayed["params"]} == kernels
    assert len(decayed["params"]) + len(others["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
def test_every_optimizer_and_schedule_trains(few: Splits, optimizer: str) -> None:
    rate = 0.01 if optimizer == "adamw" else 0.02
    for schedule in ("cosine", "linear", "constant"):
        recipe = FAST.model_copy(
            update={
                "optimizer": optimizer,
                "schedule": schedule,
                "learning_rate": rate,
                "label_smoothing": 0.1,
            }
        )
        reports = Reports()
        _train(few, recipe, report=reports)
        assert reports.received[1][1]["train_loss"] < reports.received[0][1]["train_loss"]


@given(
    total=st.integers(1, 500),
    warmup=st.floats(0.0, 0.99),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_learning_rate_rises_to_its_peak_and_never_rises_again(
    total: int, warmup: float, schedule: str
) -> None:
    recipe = FAST.model_copy(update={"warmup": warmup, "schedule": schedule})
    factors = [recipe.learning_rate_factor(step, total) for step in range(total)]
    peak = int(total * warmup)
    assert factors[peak] == max(factors) == 1.0
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert min(factors) > 0.0


def test_a_recipe_has_one_length() -> None:
    for lengths in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="give exactly one of the two"):
            TrainingRecipe(**lengths)


def test_the_learning_rate_goes_with_the_batch_size() -> None:
    recipe = FAST.with_batch_size(128)
    assert (recipe.batch_size, recipe.learning_rate) == (128, pytest.approx(0.04))


@given(seed=st.integers(0, 1000), flip=st.booleans(), shift=st.sampled_from([0.0, 0.1, 0.5]))
def test_augmentation_moves_and_mirrors_whole_images(seed: int, flip: bool, shift: float) -> None:
    """Every result is one of the shifted and mirrored originals, edges repeated; found by trying them all."""
    images = torch.randint(0, 255, (4, 2, 7, 7), generator=torch.Generator().manual_seed(seed))
    recipe = FAST.model_copy(update={"flip": flip, "shift": shift})
    chosen = torch.tensor([3, 0, 1])
    results = Augmentation(recipe, torch.Generator().manual_seed(seed))(images, chosen)
    reach = int(7 * shift)
    for index, result in zip(chosen, results, strict=True):
        candidates = []
        for mirrored in (images[index], images[index].flip(2)) if flip else (images[index],):
            padded = nn.functional.pad(mirrored[None].double(), [reach] * 4, mode="replicate")[0]
            candidates += [
                padded[:, row : row + 7, column : column + 7]
                for row in range(2 * reach + 1)
                for column in range(2 * reach + 1)
            ]
        assert any(torch.equal(result.double(), candidate) for candidate in candidates)


def test_augmentation_does_both_and_each_image_by_itself() -> None:
    images = torch.arange(49.0).reshape(1, 1, 7, 7).repeat(200, 1, 1, 1)
    recipe = FAST.model_copy(update={"flip": True})
    results = Augmentation(recipe, torch.Generator().manual_seed(0))(images, torch.arange(200))
    mirrored = sum(bool(torch.equal(result, images[0].flip(2))) for result in results)
    assert 70 < mirrored < 130


def test_standardised_images_have_mean_zero_and_deviation_one(few: Splits) -> None:
    feed = Feed(few.train, standard=Standardisation.of(few.train), recipe=FAST, device=CPU)
    x_BCHW, y_B = feed.batch(torch.arange(160))
    assert x_BCHW.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert x_BCHW.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert y_B.tolist() == few.train.labels_N.tolist()


def test_float_images_are_used_as_they_are(few: Splits) -> None:
    images = few.train.images_NCHW.astype(np.float32) / 7
    split = Split(images_NCHW=images, labels_N=few.train.labels_N)
    x_BCHW, _ = Feed(split, standard=Standardisation.of(split), recipe=FAST, device=CPU).batch(
        torch.arange(3)
    )
    np.testing.assert_array_equal(x_BCHW.numpy(), images[:3])


def test_large_splits_are_measured_by_an_even_sample() -> None:
    images = np.zeros((30_000, 1, 2, 2), dtype=np.uint8)
    images[15_000:] = 200
    standard = Standardisation.of(Split(images_NCHW=images, labels_N=np.zeros(30_000, dtype=np.int64)))
    assert standard.mean_1C11.item() == pytest.approx(100.0)
    assert standard.std_1C11.item() == pytest.approx(100.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_gpu_learns_in_every_precision(digits: Splits, precision: str) -> None:
    network = seeded_build(ARCH, 10, seed=0)
    recipe = FAST.model_copy(update={"epochs": 4, "precision": precision, "shift": 0.1})
    before = torch.cuda.get_rng_state()
    metrics = train_classifier(
        network, digits, recipe, seed=0, device=torch.device("cuda:0"), report=Reports()
    )
    assert metrics["accuracy"] > 0.85
    assert torch.equal(before, torch.cuda.get_rng_state())
