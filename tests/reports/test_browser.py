"""Pages in a real browser: no wider than a phone, no serious violation of accessibility, no script refused, printable.

They need Chromium (Debian's `chromium`, or what POLYSENSE_CHROMIUM names), and for accessibility axe-core's file
axe.min.js (POLYSENSE_AXE names it, else node_modules/axe-core below the repository or the current folder).
"""

from __future__ import annotations

import html
import json
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import polysense
from polysense.core.audit_answers import MistakeGroup
from polysense.reports.environment import render, render_section
from polysense.workflows.audit.mistakes import Mistakes, SeenMistake


def _of(file: str) -> dict[str, Any]:
    """What another test file of this folder defines."""
    return runpy.run_path(str(Path(__file__).with_name(file)))


_EXPLANATION = _of("test_explanation.py")
PAGES: dict[str, Callable[[], str]] = {
    **_of("test_hostile_names.py")["PAGES"],
    "explanation.html.j2": lambda: _EXPLANATION["page"](_EXPLANATION["row"]()),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PHONE = 390
_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's program; the test is skipped where there is none."""
    names = [os.environ.get("POLYSENSE_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed, and POLYSENSE_CHROMIUM names none")
    return found


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's text; the test is skipped where there is none."""
    places = [os.environ.get("POLYSENSE_AXE", "")]
    places += [str(folder / "node_modules" / "axe-core" / "axe.min.js") for folder in (_REPOSITORY, Path.cwd())]
    found = next((Path(place) for place in places if place and Path(place).is_file()), None)
    if found is None:
        pytest.skip("axe-core is not there: POLYSENSE_AXE names no axe.min.js, and no node_modules holds it")
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(trained: Callable[[str], polysense.Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a run, and one of every other kind, which shows hostile names."""
    run = trained("classification")
    folder = tmp_path_factory.mktemp("pages")
    results = {"report": run.folder / "report.html", "samples": run.folder / "samples.html"}
    for name, page in PAGES.items():
        path = folder / f"{name.partition('.')[0]}.html"
        path.write_text(page(), encoding="utf-8")
        results[f"hostile {path.stem}"] = path
    return results


NAMES = ["report", "samples", *(f"hostile {name.partition('.')[0]}" for name in PAGES)]


def browse(chromium: str, folder: Path, *options: str) -> str:
    """What the browser writes to its output."""
    line = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
        "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}", *options,
    ]  # fmt: skip
    return subprocess.run(line, capture_output=True, text=True, timeout=200, check=True).stdout


def asked(
    chromium: str, folder: Path, page: Path, question: str, *, width: int, dark: bool = False, script: str = ""
) -> Any:
    """The answer to a question in JavaScript about a page in a frame of a width; `script` runs in it first.

    A page's policy lets no script in but its own, so that it is left out of the copy that is asked.
    """
    content = page.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    copy = folder / "page.html"
    copy.write_text(policy.sub("", content), encoding="utf-8")
    (folder / "script.js").write_text(script, encoding="utf-8")
    (folder / "harness.html").write_text(
        f"""<!doctype html><meta charset="utf-8"><body>
<iframe id="f" src="page.html" style="width:{width}px;height:900px;border:0"></iframe><pre id="answer"></pre><script>
document.getElementById("f").addEventListener("load", async (event) => {{
  const view = event.target.contentWindow, page = view.document;
  page.querySelectorAll("details").forEach((node) => {{ node.open = true; }});
  const own = page.createElement("script");
  own.textContent = await (await fetch("script.js")).text().catch(() => "");
  page.head.append(own);
  document.getElementById("answer").textContent = JSON.stringify(await (async () => ({question}))());
}});
</script>""",
        encoding="utf-8",
    )
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    listed = browse(
        chromium, folder, scheme, "--window-size=1400,1000", "--dump-dom", (folder / "harness.html").as_uri()
    )
    answer = re.search(r'<pre id="answer">(.+?)</pre>', listed, re.DOTALL)
    assert answer, "the page gave no answer"
    return json.loads(html.unescape(answer[1]))


@pytest.mark.parametrize("name", NAMES)
def test_no_page_is_wider_than_a_phone_and_no_chart_has_tiny_text(
    name: str, chromium: str, pages: dict[str, Path], tmp_path: Path
) -> None:
    question = """[page.scrollingElement.scrollWidth, Array.from(page.querySelectorAll("svg text")).map((text) =>
        parseFloat(view.getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a)]"""
    width, sizes = asked(chromium, tmp_path, pages[name], question, width=PHONE)
    assert width <= PHONE
    assert min(sizes, default=99.0) >= 8.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_no_serious_violation_of_accessibility(
    name: str, dark: bool, chromium: str, axe: str, pages: dict[str, Path], tmp_path: Path
) -> None:
    question = """(await view.axe.run(page, {resultTypes: ["violations"]})).violations
        .filter((one) => one.impact === "serious" || one.impact === "critical")
        .map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))])"""
    assert asked(chromium, tmp_path, pages[name], question, width=PHONE, dark=dark, script=axe) == []


def test_dark_is_dark(chromium: str, pages: dict[str, Path], tmp_path: Path) -> None:
    question = "view.getComputedStyle(page.body).backgroundColor.match(/\\d+/g).map(Number)"
    light, dark = (
        asked(chromium, tmp_path, pages["report"], question, width=1280, dark=each) for each in (False, True)
    )
    assert min(light) > 200
    assert max(dark) < 60


def test_the_page_runs_its_script_under_its_own_policy(chromium: str, pages: dict[str, Path], tmp_path: Path) -> None:
    listed = browse(chromium, tmp_path, "--dump-dom", pages["report"].as_uri())
    assert '<div class="tip"' in listed, "the script has made the place for values"


def test_mistakes_are_chosen_by_the_true_class_and_the_predicted_one(chromium: str, tmp_path: Path) -> None:
    kinds = [("cat", "dog"), ('<i>"', "dog"), ("cat", "owl")]
    part = Mistakes(
        target="y",
        groups=tuple(
            MistakeGroup(title=f"{true}, {predicted}", total=1, facets={"true class": true, "predicted": predicted})
            for true, predicted in kinds
        ),
        seen=((SeenMistake(row=1, words=""),),) * len(kinds),
    )
    page = tmp_path / "mistakes.html"
    page.write_text(render("base.html.j2").replace("<main>", f"<main>{render_section(part.section())}"), "utf-8")
    question = """Array.from(page.querySelectorAll("details")).map((node) => !node.hidden)"""
    for chosen, visible in (("", [True, True, True]), ("cat", [True, False, True]), ('<i>"', [False, True, False])):
        script = f"""const [truth] = document.querySelectorAll("select");
            truth.value = {json.dumps(chosen or "all")};
            truth.dispatchEvent(new Event("change", {{ bubbles: true }}));"""
        assert asked(chromium, tmp_path, page, question, width=PHONE, script=script) == visible


def test_it_is_drawn_and_prints(chromium: str, pages: dict[str, Path], tmp_path: Path) -> None:
    shot, paper = tmp_path / "shot.png", tmp_path / "paper.pdf"
    address = pages["report"].as_uri()
    browse(chromium, tmp_path, f"--screenshot={shot}", "--window-size=1280,1600", address)
    with Image.open(shot) as image:
        assert image.size == (1280, 1600)
        assert len(np.unique(np.asarray(image.convert("L")))) > 50
    browse(chromium, tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer", address)
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3, "what is folded is printed too"
