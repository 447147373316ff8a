"""One environment: what it prints is escaped, visible and there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError
from markupsafe import Markup

from polysense.core.report_section import ReportSection
from polysense.reports.environment import render, render_section
from polysense.reports.escaping import lines, markdown, markdown_code, visible

SOURCE = Path(str(files("polysense")))
TEMPLATES = sorted(SOURCE.rglob("*.j2"))


def test_no_template_lets_anything_through() -> None:
    assert len(TEMPLATES) >= 12
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|\bautoescape\b|\bMarkup\b", text), path


def test_markup_is_made_in_three_modules_only() -> None:
    makers = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"\bMarkup\((?!\"\"\)|\"<br>\"|\"\\n\")", path.read_text(encoding="utf-8"))
    }
    assert makers == {"reports/charts.py", "reports/environment.py", "reports/escaping.py"}


def test_a_missing_name_is_an_error_and_so_is_a_template_elsewhere() -> None:
    with pytest.raises(UndefinedError, match="note"):
        render("neighbors.html.j2", title="t", searches=[])
    for name in ("nothing.html.j2", "polysense.tasks.tagging:nothing.j2", "os;x:report.html.j2"):
        with pytest.raises(TemplateNotFound):
            render(name)


def test_a_section_of_any_package_is_markup_and_its_values_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "third_party_task"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "report.html.j2").write_text("<section>{{ name }}{{ charts.tag('b', name) }}</section>")
    monkeypatch.syspath_prepend(str(tmp_path))
    section = ReportSection(template="third_party_task:report.html.j2", values={"name": "<i>\u202e"})
    assert render_section(section) == Markup("<section>&lt;i&gt;\\u202e<b>&lt;i&gt;\\u202e</b></section>")


def test_invisible_characters_are_seen_and_lines_are_kept() -> None:
    assert visible("a\nb\x7f\u2067") == "a\\nb\\u007f\\u2067"
    assert lines("<b>\nc\x00") == Markup("&lt;b&gt;<br>c\\u0000")
    assert lines("a\nb", "newline") == Markup("a\nb")


def test_markdown_from_outside_is_text() -> None:
    assert markdown('don\'t say "R&D"') == 'don\'t say "R&amp;D"'
    assert markdown("a|b_c\n# <b> [x](y) `c` _d_") == r"a\|b_c\\n# &lt;b&gt; \[x\](y) \`c\` \_d\_"
    assert markdown_code("the label") == "`the label`"
    assert markdown_code("`<b>") == r"\`&lt;b&gt;"


def test_reports_need_no_plotting_library() -> None:
    code = (
        "import sys, polysense.reports.report, polysense.reports.terminal, polysense.evaluation.contribution\n"
        "heavy = {'matplotlib', 'torchmetrics', 'torchvision', 'sklearn', 'pandas', 'transformers', 'plotly'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == ""
