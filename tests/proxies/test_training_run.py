"""One training's state: saved anywhere and restored, it goes on to the last bit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from proxies.data.digits import Digits
from proxies.data.protocol import Split, Splits
from proxies.numerics import training_numerics
from proxies.recipe import TrainingRecipe
from proxies.training import seeded_build
from proxies.training_run import TrainingRun, TrainingState
from search_spaces.architecture import Architecture, Head, Input, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

CPU = torch.device("cpu")
ARCH = Architecture(
    input=Input(channels=1),
    stem=Stem(width=8),
    stages=(
        Stage(stride=1, depth=1, width=8, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=2, width=16, block=MBConv(expand=2)),
    ),
    head=Head(width=32),
)
PLAIN = {"epochs": 4, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.01}
EVERYTHING = PLAIN | {
    "flip": True,
    "shift": 0.1,
    "ema": 0.99,
    "accumulate": 2,
    "label_smoothing": 0.1,
    "progressive": {
        "stages": 2,
        "size": {"from": 6, "to": 8},
        "randaugment": {"from": 2, "to": 4},
        "mixup": {"from": 0.1, "to": 0.2},
        "cutmix": {"from": 0.1, "to": 0.2},
        "dropout": {"from": 0.1, "to": 0.3},
    },
}


@pytest.fixture(scope="module")
def few() -> Splits:
    digits = Digits(channels=1).load(resolution=8)
    train = Split(images_NCHW=digits.train.images_NCHW[:160], labels_N=digits.train.labels_N[:160])
    validation = Split(
        images_NCHW=digits.validation.images_NCHW[:60], labels_N=digits.validation.labels_N[:60]
    )
    return Splits(train=train, validation=validation, num_classes=10)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_run(splits: Splits, fields: dict[str, Any], **options: Any) -> TrainingRun:
    network = seeded_build(ARCH, 10, seed=0, dropout=0.1, drop_path=0.2)
    recipe = TrainingRecipe.model_validate(fields)
    return TrainingRun(network, splits, recipe, seed=5, device=CPU, **options)


def copied(state: TrainingState) -> TrainingState:
    return TrainingState(
        {key: value.detach().clone().contiguous() for key, value in state.tensors.items()}, dict(state.values)
    )


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop_tf", "sgd"])
@pytest.mark.parametrize("stop", [3, 5, 11])
def test_a_restored_training_goes_on_to_the_last_bit(few: Splits, optimizer: str, stop: int) -> None:
    """Five steps an epoch, two stages of two epochs: in the middle of an epoch, at its end, of stage two."""
    fields = EVERYTHING | {"optimizer": optimizer}
    with training_numerics(5, "fp32", CPU):
        whole = make_run(few, fields)
        losses = [whole.train(1) for _ in range(whole.total_steps)]
        judged = whole.evaluate(few.validation)
    with training_numerics(5, "fp32", CPU):
        first = make_run(few, fields)
        before = [first.train(1) for _ in range(stop)]
        state = copied(first.state())
    with training_numerics(99, "fp32", CPU):
        second = make_run(few, fields)
        second.load_state(state)
        after = [second.train(1) for _ in range(second.total_steps - stop)]
        assert second.evaluate(few.validation) == judged
    assert before + after == losses
    ends = whole.state().tensors, second.state().tensors
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


@pytest.mark.parametrize("lost", ["random.order", "random.epoch", "random.torch", "optimizer.", "ema."])
def test_every_part_of_the_state_is_needed(few: Splits, lost: str) -> None:
    fields = EVERYTHING | {"optimizer": "adamw"}
    with training_numerics(5, "fp32", CPU):
        run = make_run(few, fields)
        run.train(8)
        state = copied(run.state())
        losses = [run.train(4), run.evaluate(few.validation).loss]
    with training_numerics(99, "fp32", CPU):
        fresh = make_run(few, fields)
        others = fresh.state().tensors
        tensors = {
            key: others.get(key, torch.zeros_like(value)) if key.startswith(lost) else value
            for key, value in state.tensors.items()
        }
        fresh.load_state(TrainingState(tensors, state.values))
        assert [fresh.train(4), fresh.evaluate(few.validation).loss] != losses


def test_stages_change_size_and_dropout(few: Splits) -> None:
    sides: list[int] = []
    with training_numerics(5, "fp32", CPU):
        run = make_run(few, EVERYTHING)
        run.network.stem.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))  # type: ignore[attr-defined]
        run.train(10)
        assert (run.stage, run.network.dropout.p) == (1, pytest.approx(0.1))  # type: ignore[union-attr]
        run.train(10)
    assert run.network.dropout.p == pytest.approx(0.3)  # type: ignore[union-attr]
    assert sides == [6] * 20 + [8] * 20  # twice a step: the batch is worked off in two parts


def test_two_parts_of_a_batch_are_two_halves_of_its_gradient(few: Splits) -> None:
    """Without batch norm's batches to tell them apart, accumulation changes nothing but rounding."""
    fields = PLAIN | {"optimizer": "sgd", "learning_rate": 0.1}
    ends = []
    for accumulate in (1, 2):
        with training_numerics(5, "fp32", CPU):
            network = seeded_build(ARCH, 10, seed=0, dropout=0.0, drop_path=0.0)
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 0.0
                    module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc, assignment]
                    module.training = False
            recipe = TrainingRecipe.model_validate(fields | {"accumulate": accumulate})
            run = TrainingRun(network, few, recipe, seed=5, device=CPU)
            losses = [run.train(1) for _ in range(6)]
            ends.append((losses, [p.detach().clone() for p in network.parameters()]))
    assert ends[0][0] == pytest.approx(ends[1][0], abs=1e-6)
    for one, two in zip(ends[0][1], ends[1][1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


def test_the_averaged_network_is_what_is_judged(few: Splits) -> None:
    with training_numerics(5, "fp32", CPU):
        run = make_run(few, PLAIN | {"ema": 0.999})
        run.train(5)
        assert run.evaluated is not run.network
        averaged = run.evaluate(few.validation)
        assert make_run(few, PLAIN).evaluated is not None
        run.network.load_state_dict({k: torch.zeros_like(v) for k, v in run.network.state_dict().items()})
        assert run.evaluate(few.validation) == averaged


def test_five_likeliest_and_own_resolution(few: Splits) -> None:
    with training_numerics(5, "fp32", CPU):
        run = make_run(few, PLAIN, resolution=12)
        sides: list[int] = []
        run.network.stem.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))  # type: ignore[attr-defined]
        run.train(5)
        found = run.evaluate(few.validation)
    assert set(sides) == {12}
    assert 0 <= found.accuracy < found.top5 <= 1


def test_mixing_changes_the_loss_and_its_labels(few: Splits) -> None:
    with training_numerics(5, "fp32", CPU):
        plain = make_run(few, PLAIN).train(1)
    with training_numerics(5, "fp32", CPU):
        mixed = make_run(few, PLAIN | {"mixup": 0.5}).train(1)
    assert plain != mixed


def test_distortion_of_fractions_is_refused(few: Splits) -> None:
    as_floats = Split(images_NCHW=few.train.images_NCHW.astype("float32"), labels_N=few.train.labels_N)
    splits = Splits(train=as_floats, validation=as_floats, num_classes=10)
    with pytest.raises(ValueError, match="randaugment needs images of whole numbers"):
        make_run(splits, PLAIN | {"randaugment": 5.0})
    with pytest.raises(ValueError, match="randaugment needs images of whole numbers"):
        make_run(splits, EVERYTHING)
