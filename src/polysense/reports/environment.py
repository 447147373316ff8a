"""Render pages through the one jinja2 environment, in which nothing from a table can become markup.

Autoescape is on for every template, the model card among them; a name that a template lacks raises. Control characters
and those that change the direction of writing are made visible on their way out, since they could make one name look
like another. A page is one self-contained file that loads nothing and runs no script: its security policy forbids it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from polysense.core.preview import data_uri
from polysense.core.report_section import ReportSection
from polysense.evaluation.contribution_result import amount
from polysense.reports import audit_charts, charts, numerals
from polysense.reports.escaping import lines, markdown, markdown_code, visible

__all__ = ["render", "render_section"]


def render(template: str, **values: object) -> str:
    """A whole page, or a model card.

    Args:
        template: A file of `reports/templates`, or "package:file" for one that lies in another package.
        values: What it shows; each is escaped.
    """
    return _environment().get_template(template).render(values)


def render_section(section: ReportSection) -> Markup:
    """A part of a page, as markup that the page may contain."""
    return Markup(render(section.template, **section.values))


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
        "amount": lambda value, measure: amount(measure, value),
        "lines": lines,
        "markdown": markdown,
        "code": markdown_code,
        "data_uri": lambda file, media_type: data_uri(file, media_type),
        "e": escape,
    }
    environment.globals |= {"charts": charts, "audit_charts": audit_charts}
    return environment


def _package_template(name: str) -> str | None:
    """The text of "package:file": where a task's template lies beside its code, in this package or a third party's."""
    package, colon, file = name.partition(":")
    if not colon or not re.fullmatch(r"\w+(\.\w+)*", package):
        return None
    path = files(package) / file
    return path.read_text(encoding="utf-8") if path.is_file() else None
