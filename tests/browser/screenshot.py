"""Pictures of a report for the documentation: `python tests/browser/screenshot.py RUN [RUN...]`."""

import argparse
import tempfile
from pathlib import Path

from chromium import browser, open_page

from results.report.page import write_report
from results.run import load_runs


def take(page, file: Path, *, theme: str, height: int) -> None:
    """One picture of the whole width and `height` pixels, in the theme."""
    wanted = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    page.set_window_size(1440, height)
    page.refresh()
    page.save_screenshot(str(file))


def main() -> None:
    """Write report.png of the first run, and report-of-several.png, dark, of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    runs = load_runs(*given.runs)
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        page = open_page(driver, write_report(runs[:1], Path(folder) / "one.html"))
        take(page, given.out / "report.png", theme="light", height=1560)
        if len(runs) > 1:
            page = open_page(driver, write_report(runs, Path(folder) / "several.html"))
            take(page, given.out / "report-of-several.png", theme="dark", height=1760)


if __name__ == "__main__":
    main()
