"""The page in a browser: a hundred labels by keyboard, readable by everybody, on a desk and on a phone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from labeling_servers import CLASSES, free_port, started, wait_for
from PIL import Image

from polysense.workflows.labeling.store import JOURNAL

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
axe_core = pytest.importorskip("axe_core_python.selenium", reason="axe-core checks the page")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script> line'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of selenium's own sockets
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page's address, and the folder of its table."""
    folder = tmp_path_factory.mktemp("browser")
    draws = np.random.default_rng(0)
    for number in range(8):
        noise = draws.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240)).save(folder / f"{number}.png")
    rows = range(140)
    pl.DataFrame(
        {
            "picture": [f"{number % 8}.png" for number in rows],
            "text": [f"{HOSTILE} {number}, told at length for people who label" for number in rows],
            "weight": [number / 7 for number in rows],
        }
    ).write_csv(folder / "table.csv")
    (folder / "guideline.txt").write_text("<b>Good</b> is what you like.", encoding="utf-8")
    port = free_port()
    server = started(folder, port, shared=1.0, guideline=folder / "guideline.txt")
    wait_for(port)
    yield f"http://127.0.0.1:{port}/", folder
    server.kill()
    server.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def sized(browser: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def text_of(browser: Any, id: str) -> str:
    return browser.find_element("id", id).text


def until(browser: Any, condition: str, seconds: float = 30) -> None:
    """Waits for a condition in the page's own words."""
    deadline = time.monotonic() + seconds
    while not browser.execute_script(f"return Boolean({condition})"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.005)


def press(browser: Any, key: str) -> None:
    browser.find_element("tag name", "body").send_keys(key)


def opened(browser: Any, address: str, name: str) -> None:
    browser.get(address)
    browser.execute_script("sessionStorage.clear(); localStorage.clear();")
    browser.get(address)
    until(browser, "document.querySelector('dialog[open]') || state.row")
    if browser.execute_script("return document.querySelector('dialog[open]') !== null"):
        browser.find_element("id", "name").send_keys(name + "\n")
    until(browser, "state.row && !state.busy")


def decided(folder: Path, annotator: str) -> list[dict[str, Any]]:
    lines = (folder / "labels" / JOURNAL).read_text(encoding="utf-8").splitlines()
    return [record for line in lines if (record := json.loads(line)).get("annotator") == annotator]


def violations(browser: Any) -> list[str]:
    results = axe_core.Axe().run(browser)
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in results["violations"]]


def test_a_hundred_labels_by_keyboard(browser: Any, page: tuple[str, Path]) -> None:
    address, folder = page
    sized(browser, 1280, 800)
    opened(browser, address, "ann")
    expected, seconds = [], []
    for number in range(100):
        row = browser.execute_script("return state.row.row")
        begun = time.monotonic()
        press(browser, str(1 + number % 3))
        until(browser, f"!state.busy && state.row.row !== {row}")
        seconds.append(time.monotonic() - begun)
        expected.append((row, CLASSES[number % 3]))
    assert [(each["row"], each["value"]) for each in decided(folder, "ann")] == expected
    assert len({row for row, _ in expected}) == 100
    press(browser, "u")
    until(browser, f"!state.busy && state.row.row === {expected[-1][0]}")
    press(browser, "0")
    until(browser, f"!state.busy && state.row.row !== {expected[-1][0]}")
    assert [each["kind"] for each in decided(folder, "ann")][-2:] == ["undo", "unsure"]
    assert browser.title == "mood · table.csv"  # no markup of the table ran
    assert HOSTILE.replace("  ", " ") in text_of(browser, "row")
    print(f"median of {1000 * sorted(seconds)[50]:.0f} ms from key to next row, the driver's own time in it")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_every_view_is_accessible_and_fits(
    browser: Any, page: tuple[str, Path], width: int, height: int, tmp_path: Path
) -> None:
    address, _ = page
    sized(browser, width, height)
    opened(browser, address, f"bob {width}")
    for _ in range(3):
        row = browser.execute_script("return state.row.row")
        press(browser, "2")
        until(browser, f"!state.busy && state.row.row !== {row}")
    for view in ("label", "progress", "differences"):
        browser.find_element("id", f"tab-{view}").click()
        until(browser, f"!document.getElementById('view-{view}').hidden")
        time.sleep(0.5)
        assert violations(browser) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.save_screenshot(str(tmp_path / f"{view}-{width}.png"))
    browser.find_element("id", "help").click()
    assert "<b>Good</b> is what you like." in text_of(browser, "guideline")
    assert violations(browser) == []
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if "favicon" not in message] == []
