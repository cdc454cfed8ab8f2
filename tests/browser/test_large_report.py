"""A report of 10,000 candidates: its size, and what the reader's acts cost the browser."""

import pytest
from chromium import browser, needs_browser, open_page, text, type_filter
from reported import make_run

from results.report.page import write_report
from results.run import load_run

pytestmark = needs_browser

CANDIDATES = 10_000
MAX_BYTES = 15_000_000
MAX_SECONDS = 0.2
"""Of the page's own thread, in CPU time: what a reader waits on a machine that does nothing else."""

ACTS = {
    "show all": "document.querySelector('[data-preset=all]').click()",
    "sort": "document.querySelector('th[data-key=params] button').click()",
    "sort the other way": "document.querySelector('th[data-key=params] button').click()",
    "choose": "document.querySelectorAll('tr.row')[5].click()",
    "scroll": "document.getElementById('rows').scrollTop = 150000",
    "other axis": "const axis = document.getElementById('x-axis'); axis.value = 'macs';"
    "axis.dispatchEvent(new Event('change'))",
    "logarithm": "document.getElementById('x-log').click()",
    "show the front": "document.querySelector('[data-preset=front]').click()",
}
POINT = (
    "const move = new PointerEvent('pointermove', { clientX: 400, clientY: 500 });"
    "document.getElementById('over').dispatchEvent(move)"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("large") / "large", space="effnetv2", count=CANDIDATES)
    return write_report([load_run(path)], path / "report.html")


@pytest.fixture(scope="module")
def page(file):
    with browser() as driver:
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        yield open_page(driver, file)


def busy_seconds(page):
    """CPU time that the page's thread has spent on tasks."""
    metrics = page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return {each["name"]: each["value"] for each in metrics}["TaskDuration"]


def spent(page, act):
    before = busy_seconds(page)
    act()
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    return busy_seconds(page) - before


def test_its_size(file):
    assert 1_000_000 < file.stat().st_size < MAX_BYTES


def test_every_act_is_quick(page):
    costs = {
        name: spent(page, lambda script=script: page.execute_script(script)) for name, script in ACTS.items()
    }
    costs["point"] = spent(page, lambda: page.execute_script(POINT))
    for given in ("mbconv", "accuracy>0.5 params<30M", "zzz", ""):
        costs[f"filter {given!r}"] = spent(page, lambda given=given: type_filter(page, given))
    print({name: f"{1000 * seconds:.0f} ms" for name, seconds in costs.items()})
    assert {name: seconds for name, seconds in costs.items() if seconds >= MAX_SECONDS} == {}
    assert max(costs.values()) > 0.001  # the clock runs


def test_ten_thousand_rows_are_not_ten_thousand_elements(page):
    page.execute_script(ACTS["show all"])
    assert text(page, "#count") == "10,000 of 10,000 networks"
    assert page.execute_script("return document.querySelectorAll('#rows tr').length") < 100
