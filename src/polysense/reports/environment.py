"""Render pages through the one jinja2 environment, in which nothing from a table can become markup.

Autoescape is on for every template, the model card among them; a name that a template lacks raises. Control characters
and those that change the direction of writing are made visible on their way out, since they could make one name look
like another. A page is one self-contained file that loads nothing: its security policy forbids it, and lets run the one
script that the policy names by its hash. Wide tables scroll by themselves, and a page has at most 10 MB: beyond that
its largest images and sounds are left out, which it says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import accumulate

from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from polysense.core.preview import data_uri
from polysense.core.report_section import ReportSection
from polysense.evaluation.contribution_result import amount
from polysense.reports import audit_charts, charts, numerals
from polysense.reports.escaping import lines, markdown, markdown_code, visible
from polysense.reports.metric_names import metric_name

__all__ = ["MAX_BYTES", "render", "render_section"]

MAX_BYTES = 10_000_000
"""Of a page; mail and pull requests take files of this size."""

_MEDIA = re.compile(r'<img [^>]*src="data:[^"]*"[^>]*>|<audio [^>]*src="data:[^"]*"[^>]*></audio>')
_LEFT_OUT = '<span class="mute small">left out</span>'
_TABLE = re.compile(r"<table[ >].*?</table>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class _Script:
    """The pages' script, and its hash as a security policy names it."""

    text: Markup
    digest: str


def render(template: str, **values: object) -> str:
    """A whole page, or a model card.

    Args:
        template: A file of `reports/templates`, or "package:file" for one that lies in another package.
        values: What it shows; each is escaped.
    """
    page = _environment().get_template(template).render(values)
    return _bounded(_scrolling(page)) if template.endswith(".html.j2") and page.startswith("<!doctype") else page


def render_section(section: ReportSection) -> Markup:
    """A part of a page, as markup that the page may contain."""
    return Markup(render(section.template, **section.values))


def _scrolling(page: str) -> str:
    """Each table in a frame of its own, which scrolls where the table is wider than the page, by keys too."""
    # Only templates make markup: in what they show, "<" is escaped.
    frame = '<div class="wide" tabindex="0" role="group" aria-label="Table">{}</div>'
    return _TABLE.sub(lambda table: frame.format(table[0]), page)


def _bounded(page: str) -> str:
    """A page of at most `MAX_BYTES`: its largest images and sounds are left out, which it then says."""
    total = len(page.encode("utf-8"))
    if total <= MAX_BYTES:
        return page
    media = sorted(_MEDIA.finditer(page), key=lambda one: -len(one[0]))
    saved = accumulate(len(one[0]) - len(_LEFT_OUT) for one in media)
    spare = total - MAX_BYTES + 1000  # room for the note
    number = next((i + 1 for i, bytes_saved in enumerate(saved) if bytes_saved >= spare), len(media))
    for one in sorted(media[:number], key=lambda one: -one.start()):
        page = page[: one.start()] + _LEFT_OUT + page[one.end() :]
    note = f"{number:,} of {len(media):,} images and sounds were left out: the page would be larger than 10 MB."
    return page.replace("</header>", f"<p><b>{note}</b></p></header>", 1)


@lru_cache(maxsize=1)
def _page_script() -> _Script:
    text = (files("polysense.reports") / "templates" / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return _Script(text=Markup(text), digest=f"sha256-{digest}")  # a file of ours


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("polysense.reports"), FunctionLoader(_package_template)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numerals.number,
        "signed": numerals.signed,
        "count": numerals.count,
        "percent": numerals.percent,
        "metric_name": metric_name,
        "amount": lambda value, measure: amount(measure, value),
        "lines": lines,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "markdown": markdown,
        "code": markdown_code,
        "data_uri": lambda file, media_type: data_uri(file, media_type),
        "e": escape,
    }
    environment.globals |= {"charts": charts, "audit_charts": audit_charts, "page_script": _page_script()}
    return environment


def _package_template(name: str) -> str | None:
    """The text of "package:file": where a task's template lies beside its code, in this package or a third party's."""
    package, colon, file = name.partition(":")
    if not colon or not re.fullmatch(r"\w+(\.\w+)*", package):
        return None
    path = files(package) / file
    return path.read_text(encoding="utf-8") if path.is_file() else None
