"""The closed form beside the built network."""

import dataclasses

import pytest
import torch

from proxies.cross_check import CrossCheck, cross_check, flop_counter_macs, fvcore_macs
from search_spaces.document import load_architecture


def test_every_count_of_efficientnetv2_b0_agrees():
    found = cross_check(load_architecture("efficientnetv2-b0"), 64, num_classes=10)
    assert found.agrees
    assert found.params == found.built_params == 7_139_704 - 990 * 1281
    assert found.macs == found.flop_counter_macs == found.fvcore_macs
    assert (found.resolution, found.num_classes) == (64, 10)


@pytest.mark.parametrize("field", ["params", "macs", "built_params", "flop_counter_macs", "fvcore_macs"])
def test_one_count_that_differs_is_disagreement(field):
    whole = CrossCheck(
        resolution=32, num_classes=10, params=3, macs=5, built_params=3, flop_counter_macs=5, fvcore_macs=5
    )
    assert whole.agrees
    assert not dataclasses.replace(whole, **{field: 4}).agrees
    assert dataclasses.replace(whole, fvcore_macs=None).agrees


@pytest.mark.filterwarnings("error")
def test_both_counters_count_a_multiply_add_once():
    """An independent count by hand: out area x out channels x in channels / groups x kernel area."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    )
    image = torch.zeros(1, 4, 9, 9)
    expected = 5 * 5 * 8 * (4 // 2) * 9 + 8 * 5
    assert flop_counter_macs(network, image) == expected
    assert fvcore_macs(network, image) == expected


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="resolution 0"):
        cross_check(load_architecture("efficientnetv2-b0"), 0)
