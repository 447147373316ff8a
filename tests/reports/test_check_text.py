"""The text of a check: a warning stands once, and of many the first ones with the number of the others."""

import json

import pytest
from json_schema import check_by_schema

from polysense.core.finding import Finding, Severity
from polysense.reports.check import KINDS, Check, check_schema


def made(num_columns: int, num_notes: int) -> Check:
    names = [f"c{i}" for i in range(num_columns)]
    caution = "the target 'y' is 'a' in all 57 rows in which the cell is 0, is it known before the target is?"
    leaks = [
        Finding(kind="possible_leak", severity=Severity.INFO, columns=(name,), message=f"{name}: {caution}")
        for name in names
    ]
    notes = [
        Finding(kind="duplicates", severity=Severity.WARNING, rows=(i,), message=f"note {i}", action="look")
        for i in range(num_notes)
    ]
    return Check(
        table="t.csv",
        num_rows=100,
        columns=[
            {
                "name": name,
                "role": "input",
                "type": "number",
                "missing": 0.0,
                "reason": f"number; careful: {caution}",
                "properties": {},
            }
            for name in names
        ],
        warnings=tuple(f"{name}: {caution}" for name in names),
        cautions=dict.fromkeys(names, (caution,)),
        findings=(*notes, *leaks),
    )


def test_a_columns_warning_stands_in_its_line_alone():
    text = made(3, 1).text()
    assert text.count("the target 'y' is 'a'") == 3
    assert "Warning: 3 columns have warnings, which the list above gives: c0, c1, c2\n" in text
    assert "Warning (duplicates): note 0; look" in text


def test_of_many_the_first_are_listed_and_the_others_counted():
    text = made(50, 30).text()
    assert text.count("the target 'y' is 'a'") == 50
    assert "c18, c19 and 30 more" in " ".join(text.split())
    assert text.count("Warning (duplicates): note") == 20
    assert "... and 10 more; --json lists all" in text
    assert len(made(50, 30).as_json()["findings"]) == 80


def test_what_it_prints_for_scripts_follows_the_schema():
    schema = check_schema()
    plain = json.loads(json.dumps(made(3, 2).as_json()))
    check_by_schema(plain, schema)
    assert set(schema["properties"]) == set(plain)
    plain["findings"][0]["kind"] = "unheard of"
    with pytest.raises(AssertionError, match="unheard of"):
        check_by_schema(plain, schema)


def test_a_pipeline_can_ask_for_a_severity():
    some = made(0, 1)
    assert some.reaches("warning")
    assert not some.reaches("error")
    assert not made(3, 0).reaches("warning")
    assert all(KINDS.values())
