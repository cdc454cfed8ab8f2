"""What plots say, and that both libraries draw it."""

import builtins
import sys

import numpy as np
import pytest
from anchored import file_anchor
from hypothesis import given
from hypothesis import strategies as st
from recorded import LAW
from reported import CONFIG, HARDWARE, confirm_front, make_run
from scipy.stats import kendalltau

from nas import plot
from proxies.records import Outcome
from results.compare import compare
from results.confirmations import CONFIRMATIONS_NAME, honest
from results.errors import RunError, UnlikeRunsError
from results.pareto import dominates
from results.plots.agreement import agreement
from results.plots.marks import Bars, Boxes, Line, Points, Strands, Verticals
from results.plots.theme import THEMES
from results.run import load_run
from search_spaces.architecture import cost
from search_spaces.document import load_architecture


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_run(root / "a", count=26)
    make_run(root / "b", count=12, seed=3)
    make_run(root / "gpu", config=CONFIG | {"hardware": HARDWARE | {"fingerprint": "c" * 64}})
    return [load_run(root / name) for name in ("a", "b", "gpu")]


def marks(chart, kind, panel=0):
    return [mark for mark in chart.panels[panel].marks if isinstance(mark, kind)]


def test_a_front_s_points_are_its_members_with_their_intervals(runs):
    run = runs[0]
    chart = plot.front(run)
    others, members = marks(chart, Points)
    front = run.pareto()
    assert members.x == [member.step_ms for member in front]
    assert members.y == [member.accuracy for member in front]
    assert members.x_low == [member.value("step_ms_low") for member in front]
    assert members.y_low == [None] * len(front), "a mean over one seed has no interval"
    measured = [each for each in run.candidates() if each.is_measured]
    assert len(others.x) == len(measured) - len(front)
    (line,) = marks(chart, Line)
    steps = [{"accuracy": y, "step_ms": x} for x, y in zip(line.x, line.y, strict=True)]
    everyone = [each.metrics for each in measured]
    assert not any(dominates(point, step, run.objectives[:2]) for step in steps for point in everyone)
    assert list(line.x) == sorted(line.x)
    assert chart.panels[0].x.title == "training step time (ms), smaller is better"
    assert "Test CPU" in chart.note
    assert f"candidate {front[0].id}" in members.texts[0]


def test_several_fronts_are_overlaid_each_with_its_own_look_unless_unlike(runs):
    chart = plot.front(*runs[:2], x="params", with_all=False)
    assert [(mark.label, mark.slot) for mark in marks(chart, Points)] == [("a", 0), ("b", 1)]
    assert marks(chart, Points)[1].x == [member.value("params") for member in runs[1].pareto()]
    with pytest.raises(UnlikeRunsError, match="a and gpu differ in hardware"):
        plot.front(runs[0], runs[2])
    assert len(plot.front(runs[0], runs[2], x="params").panels) == 1
    with pytest.raises(ValueError, match="no run to draw"):
        plot.front()


def test_published_networks_stand_where_they_were_measured_and_not_at_imagenet_s_accuracy(tmp_path):
    run = load_run(make_run(tmp_path / "a", count=8))
    file_anchor(run, "efficientnet-b0", 30.0, accuracy=0.4)
    file_anchor(run, "efficientnetv2-s", 90.0)
    file_anchor(run, "efficientnetv2-m", 150.0)
    chart = plot.front(run)
    (points,) = [mark for mark in marks(chart, Points) if mark.names]
    assert (points.names, points.x, points.y) == (["efficientnet-b0"], [30.0], [0.4])
    (lines,) = marks(chart, Verticals)
    assert (lines.names, lines.x) == (["efficientnetv2-m", "efficientnetv2-s"], [150.0, 90.0])
    heights = [y for mark in marks(chart, Points) for y in mark.y]
    assert (lines.low, lines.high) == (min(heights), max(heights))
    assert "accuracy (fraction of the validation set): -" in lines.texts[1]
    assert "ImageNet top-1 as published, no accuracy of this proxy: 0.839" in lines.texts[1]
    assert not [mark for mark in chart.panels[0].marks if 0.839 in getattr(mark, "y", ())]
    by_size = plot.front(run, x="params", y="step_ms")
    assert not marks(by_size, Verticals), "size is exact, and all were timed"
    assert not marks(plot.front(run, with_anchors=False), Verticals)


def test_an_honest_front_is_drawn_as_likely_values_with_intervals_and_probabilities(tmp_path):
    run = load_run(make_run(tmp_path / "a", count=14))
    with pytest.raises(RunError, match="a: no network has two independent measurements"):
        plot.honest(run)
    confirm_front(run)
    chart = plot.honest(run)
    members = {each.id: each for each in honest(run) if each.is_member}
    measured, *likely = marks(chart, Points)
    front = run.pareto()
    assert (measured.x, measured.y) == ([m.step_ms for m in front], [m.accuracy for m in front])
    drawn = {}
    for mark in likely:
        for text, *numbers in zip(
            mark.texts, mark.x, mark.y, mark.x_low, mark.x_high, mark.y_low, mark.names, strict=True
        ):
            drawn[int(text.splitlines()[0].removeprefix("candidate "))] = (*numbers, mark.is_hollow)
    assert drawn == {
        each.id: (
            each.values["step_ms"], each.values["accuracy"], each.low["step_ms"], each.high["step_ms"],
            each.low["accuracy"], f"{each.probability:.2f}", each.probability < 0.5,
        )
        for each in members.values()
    }  # fmt: skip
    assert all(low < x < high for x, _, low, high, *_ in drawn.values())
    (bars,) = marks(chart, Bars, 1)
    assert bars.values == [each.probability for each in honest(run)][:25]
    assert sum("no member" not in name for name in bars.categories) == len(members)
    assert "likely values" in chart.note


def test_an_exact_quantity_has_no_interval_and_no_other_quantity_a_likely_value(tmp_path):
    run = load_run(make_run(tmp_path / "a", count=14))
    confirm_front(run)
    _, *likely = marks(plot.honest(run, x="params"), Points)
    assert {end for mark in likely for end in (*mark.x_low, *mark.x_high)} == {None}
    with pytest.raises(ValueError, match="a: macs has no likely values; choose of accuracy, step_ms, params"):
        plot.honest(run, x="macs")


def test_the_last_hypervolume_is_that_of_the_comparison(runs):
    chart = plot.hypervolume(*runs[:2])
    for panel in (0, 1):
        for line, side in zip(marks(chart, Line, panel), compare(*runs[:2]).sides, strict=True):
            assert line.y[-1] == pytest.approx(side.hypervolume)
            assert list(line.y) == sorted(line.y)
            assert list(line.x) == sorted(line.x)
    assert [panel.x.title for panel in chart.panels] == [
        "candidates evaluated", "time spent searching (minutes)",
    ]  # fmt: skip
    assert {panel.y.title for panel in chart.panels} == {
        "hypervolume of accuracy, step_ms, params (fraction × ms)"
    }


def test_attainment_of_all_runs_lies_behind_that_of_any(runs):
    some, half, every = marks(plot.attainment(*runs[:2]), Line)
    assert (some.label, every.label) == ("any run", "all 2 runs")
    assert half.y == some.y, "one run is half of two"
    objectives = runs[0].objectives[:2]
    ahead = [{"step_ms": x, "accuracy": y} for x, y in zip(some.x, some.y, strict=True)]
    for x, y in zip(every.x, every.y, strict=True):
        point = {"step_ms": x, "accuracy": y}
        assert any(each == point or dominates(each, point, objectives) for each in ahead)


def test_learning_curves_are_those_of_the_ledger(runs):
    run = runs[1]
    lines = marks(plot.learning_curves(run), Line)
    members = {f"candidate {member.id}": member for member in run.pareto()}
    assert members.keys() <= {line.label for line in lines}
    assert len(lines) == sum(each.is_measured for each in run.candidates())
    for line in lines:
        if line.label in members:
            assert line.y[0] == pytest.approx(members[line.label].accuracy / 2)
    with pytest.raises(ValueError, match="b: no training reported f1"):
        plot.learning_curves(run, "f1")


def test_the_stages_of_a_network_stand_in_a_row_and_share_its_costs():
    arch = load_architecture("efficientnetv2-s")
    chart = plot.stages(arch, resolution=224)
    boxes = marks(chart, Boxes)
    ends = sorted(
        (left, left + width) for box in boxes for left, width in zip(box.left, box.widths, strict=True)
    )
    assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]
    assert ends[-1][1] == 2 + sum(stage.depth for stage in arch.stages)
    assert {box.label for box in boxes} == {"stem", "fused_mbconv", "mbconv", "head"}
    by_cost = marks(chart, Bars, 1)
    assert [sum(bars.values) for bars in by_cost] == pytest.approx([100.0] * 3)
    head = by_cost[0].values[-1] / 100 * cost(arch, 224).params
    assert head == pytest.approx(256 * 1280 + 2 * 1280 + 1280 * 1000 + 1000)


def test_strands_are_the_choices_of_the_networks(runs):
    run = runs[0]
    (strands,) = marks(plot.parallel(run), Strands)
    measured = [each for each in run.candidates() if each.is_measured]
    found = run.choices()
    assert len(strands.axes) == len(strands.options) == 16
    assert strands.colours == [each.accuracy for each in measured]
    for place, name in enumerate(strands.axes):
        assert [row[place] for row in strands.rows] == found.codes(name)
    (few,) = marks(plot.parallel(run, "step_ms", front_only=True), Strands)
    assert sorted(few.colours) == sorted(member.step_ms for member in run.pareto())
    with pytest.raises(ValueError, match="no measured network has f1"):
        plot.parallel(run, "f1")


# --- agreement ---------------------------------------------------------------------------------------------


@LAW
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=12))
def test_agreement_is_symmetric_and_blind_to_scale(pairs):
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = agreement(first, second) if len({*first}) > 1 < len({*second}) else None
    if found is None:
        assert agreement(first, second).tau is None
        return
    assert -1.0 - 1e-9 <= found.low <= found.high <= 1.0 + 1e-9
    assert found.tau == pytest.approx(agreement([3 * a + 1 for a in first], second).tau)
    assert found.tau == pytest.approx(agreement(second, first).tau)
    assert found.tau == pytest.approx(-agreement([-a for a in first], second).tau)


def test_the_interval_of_agreement_is_that_of_resampling():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 8, 20).astype(float)
    second = first + rng.integers(0, 6, 20)
    taus = []
    for _ in range(1000):
        pick = rng.integers(0, 20, 20)
        taus.append(kendalltau(first[pick], second[pick]).statistic)
    found = agreement(first, second)
    assert (found.low, found.high) == pytest.approx(np.nanquantile(taus, [0.025, 0.975]), abs=0.06)


def test_two_runs_of_the_same_networks_are_correlated_and_of_others_not(runs, tmp_path):
    again = load_run(make_run(tmp_path / "again", count=26, config=CONFIG | {"task": {"name": "other"}}))
    chart = plot.correlation(runs[0], again)
    (points,) = marks(chart, Points)
    assert points.x == points.y == [each.accuracy for each in runs[0].candidates() if each.is_measured]
    assert "Kendall's tau 1.00 (95 % interval 1.00 to 1.00), 21 networks" in chart.note
    with pytest.raises(RunError, match="a and b share 0 networks with accuracy, of at least 5"):
        plot.correlation(runs[0], runs[1])


# --- drawing -----------------------------------------------------------------------------------------------


def charts(runs):
    run = runs[0]
    file_anchor(run, "efficientnet-b0", 30.0, accuracy=0.4)
    file_anchor(run, "efficientnetv2-s", 90.0)
    if not (run.path / CONFIRMATIONS_NAME).exists():
        confirm_front(run)
    return [
        plot.front(*runs[:2]),
        plot.honest(run),
        plot.hypervolume(*runs[:2]),
        plot.stages(load_architecture("efficientnetv2-b0")),
        plot.parallel(runs[1]),
        plot.importance(runs[0]),
    ]


def texts_of(figure):
    return {text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text"))}


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_both_libraries_draw_every_kind_of_mark(runs, theme, tmp_path):
    for chart in charts(runs):
        drawn = chart.matplotlib(theme=theme)
        titles = {axis.title for panel in chart.panels for axis in (panel.x, panel.y) if axis.title}
        assert titles | {chart.title} <= texts_of(drawn)
        assert len(drawn.get_axes()) >= len(chart.panels)
        figure = chart.plotly(theme=theme).to_plotly_json()
        assert len(figure["data"]) == sum(len(panel.marks) for panel in chart.panels)
        assert figure["layout"]["paper_bgcolor"] == THEMES[theme].background
        assert chart.title in figure["layout"]["title"]["text"]
        legends = [axes.get_legend_handles_labels()[1] for axes in drawn.get_axes()]
        assert {trace["name"] for trace in figure["data"] if trace.get("showlegend")} == {
            label for labels in legends for label in labels
        }
        names = {name for mark in marks(chart, Verticals) for name in mark.names}
        assert names <= texts_of(drawn)
        assert names <= {text for trace in figure["data"] for text in trace.get("text") or ()}


def test_a_chart_is_saved_in_four_forms_and_shows_itself(runs, tmp_path):
    chart = plot.front(*runs[:2])
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for form, start in starts.items():
        assert chart.save(tmp_path / f"front.{form}").read_bytes().startswith(start)
    page = chart.save(tmp_path / "front.html").read_text()
    assert 'src="http' not in page
    assert "training step time (ms)" in page
    assert chart._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(
        ValueError, match=r"front.gif: plots are written as png, svg, pdf, html; name it front.png"
    ):
        chart.save(tmp_path / "front.gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "front.html", "front.pdf", "front.png", "front.svg",
    ]  # fmt: skip


@pytest.mark.parametrize(("library", "form"), [("matplotlib", "png"), ("plotly", "html")])
def test_a_missing_library_is_one_sentence_that_names_the_extra(runs, library, form, tmp_path, monkeypatch):
    chart = plot.stages(load_architecture("efficientnetv2-b0"))
    monkeypatch.delitem(sys.modules, f"results.plots.with_{library}", raising=False)
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RunError, match=rf"plots need {library}, .*training-aware-nas\[plot\]"):
        chart.save(tmp_path / f"x.{form}")
    assert not list(tmp_path.iterdir())


def contrast(first, second):
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_everything_can_be_read_on_its_page(theme):
    assert contrast(theme.text, theme.background) >= 7
    for colour in theme.palette:
        assert contrast(colour, theme.background) >= 3, colour
    assert len(set(theme.palette)) == len(theme.palette)


# --- one timing --------------------------------------------------------------------------------------------


def timed(*, blocks, method=None, **changes):
    attempts = [
        {"reasons": ["too wide"], "half_width": 0.001, "ratio": 9.0, "ratio_low": 8.0, "ratio_high": 9.9},
        {"reasons": [], "half_width": 0.02, "ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.2},
    ]
    given_method = {
        "blocks": blocks,
        "attempts": attempts,
        "reference_ms": 5.0,
        "reference_ms_from": "the baseline",
        "block_steps": {"candidate": 1, "reference": 3},
    }
    settings = {
        "work": "training",
        "resolution": 32,
        "batch_size": 4,
        "precision": "fp32",
        "memory_format": "channels_last",
    }
    details = {
        "method": given_method | (method or {}),
        "settings": settings,
        "hardware": {"device": "Test CPU"},
    }
    return Outcome(
        **{"key": "k", "kind": "time", "digest": "d" * 64, "status": "ok", "details": details} | changes
    )


BLOCKS = {"candidate_ms": [12.0, 8.0, 10.0], "reference_ms": [6.0, 4.0, 4.0]}


def test_a_timing_shows_its_pairs_its_accepted_interval_and_the_drift():
    chart = plot.timing(timed(blocks=BLOCKS), "net")
    assert chart.title == "training step of net: 2.000 [1.900, 2.200] times the reference, ok"
    (pairs,) = marks(chart, Points)
    assert (pairs.x, pairs.y) == ([1.0, 2.0, 3.0], [2.0, 2.0, 2.5])
    assert {line.y[0] for line in marks(chart, Line)} == {2.0, 1.9, 2.2}
    network, reference = marks(chart, Points, panel=1)
    assert network.y == [1.2, 0.8, 1.0]
    assert (reference.label, reference.y) == ("reference, to its baseline", [1.2, 0.8, 0.8])
    assert "Test CPU, 32 px, batch 4" in chart.note
    assert chart.matplotlib(theme="dark").axes[0].get_xlabel() == "pair"


@pytest.mark.parametrize("outcome", [timed(blocks=None), timed(blocks=BLOCKS, kind="train")])
def test_what_was_not_timed_in_pairs_is_not_drawn(outcome):
    with pytest.raises(ValueError, match=r"no pairs of steps were recorded.*measure it anew"):
        plot.timing(outcome, "net")
