"""A report in a real browser: Chromium without a window and without a network, through its own driver."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

MISSING = (
    "no browser is here: apt-get install chromium chromium-driver"
    if BROWSER is None or DRIVER is None
    else None
)
needs_browser = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

CLICK_AT = """
const over = document.getElementById("over"), box = over.getBoundingClientRect();
for (let y = 2; y < box.height; y += 4) for (let x = 2; x < box.width; x += 4) {
  over.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + x, clientY: box.top + y }));
  if (document.querySelector("#tip:not([hidden]) b")?.textContent === arguments[0]) return [x, y];
}
return null;
"""
"""Where on the chart the pointer means the network of that name, as a reader would find it."""


@contextmanager
def browser(*, width=1440, height=1000, downloads=None):
    """A browser that may reach nothing but files; at the end it must have complained of nothing."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ.setdefault("SE_OFFLINE", "true")  # look for no driver elsewhere, and tell nobody
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        if downloads is not None:
            place = {"behavior": "allow", "downloadPath": str(downloads)}
            driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        yield driver
        assert complaints(driver) == []
    finally:
        driver.quit()


def complaints(driver):
    """What stands on the browser's console: errors, warnings, and what the page's policy forbade."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver):
    """The addresses that the page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def open_page(driver, file: Path):
    driver.get(file.resolve().as_uri())
    return driver


def texts(driver, selector):
    """The text of every element, read at once."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector
    )


def text(driver, selector):
    (only,) = texts(driver, selector)
    return only


def press(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def type_filter(driver, given):
    """Put text into the filter as typing does, and wait until the page has followed."""
    driver.execute_async_script(
        "const [given, done] = arguments; const field = document.getElementById('filter');"
        "field.value = given; field.dispatchEvent(new Event('input', { bubbles: true }));"
        "requestAnimationFrame(() => requestAnimationFrame(done));",
        given,
    )


def listed_ids(driver):
    """The numbers of the networks in the list, in its order."""
    return [int(each) for each in texts(driver, "#rows tr.row td:nth-child(2)")]
