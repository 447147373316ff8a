"""The text of a check: a warning stands once, and of many the first ones with the number of the others."""

from polysense.reports.check import Check


def made(num_columns: int, num_warnings: int) -> Check:
    names = [f"c{i}" for i in range(num_columns)]
    caution = "the target 'y' is 'a' in all 57 rows in which the cell is 0, is it known before the target is?"
    return Check(
        table="t.csv",
        num_rows=100,
        columns=[
            {"name": name, "role": "input", "type": "number", "missing": 0.0, "reason": f"number; careful: {caution}"}
            for name in names
        ],
        warnings=(*(f"{name}: {caution}" for name in names), *(f"note {i}" for i in range(num_warnings))),
        cautions=dict.fromkeys(names, (caution,)),
    )


def test_a_columns_warning_stands_in_its_line_alone():
    text = made(3, 1).text()
    assert text.count("the target 'y' is 'a'") == 3
    assert "Warning: 3 columns have warnings, which the list above gives: c0, c1, c2\n" in text
    assert "Warning: note 0" in text


def test_of_many_the_first_are_listed_and_the_others_counted():
    text = made(50, 30).text()
    assert text.count("the target 'y' is 'a'") == 50
    assert "c18, c19 and 30 more" in " ".join(text.split())
    assert text.count("Warning: note") == 20
    assert "... and 10 more; --json lists all" in text
    assert len(made(50, 30).as_json()["warnings"]) == 80
