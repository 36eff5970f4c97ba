"""Exports: they parse, hold the numbers that are shown, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from db.records.results import FrontRow
from service.dashboard.study.choices import StudyChoices
from service.dashboard.study.exports import write_csv, write_json
from service.dashboard.study.front import StudyFront, build_study_front


def show(names: list[str], **choices: Any) -> StudyFront:
    """Return a study of networks with these names; the last one was measured wrongly."""
    rows = [
        FrontRow(
            id=f"arch_{i}",
            job_id="srch_1",
            trial_id=f"tria_{i}",
            name=name,
            seed=i,
            budget_madds=None,
            madds=100 + i,
            params=7,
            delta_m=-0.5 * i if i < len(names) - 1 else math.nan,
            metrics={"=evil()": {"metric": "accuracy", "value": 90.25 + i, "higher_is_better": True}},
        )
        for i, name in enumerate(names)
    ]
    return build_study_front(rows, {}, {}, StudyChoices(**choices))


def read(text: str) -> list[dict[str, str]]:
    """Return the lines of a CSV."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", '"a",b', "plain"])
def test_no_cell_is_a_formula(name: str) -> None:
    """Text that begins like a formula is quoted by an apostrophe, a negative number stays a number."""
    shown = show([name, "b", "c"])
    rows = read(write_csv(shown))
    assert rows[0]["name"] in (name, f"'{name}")
    text = ("name", "search", "architecture_id")
    assert not any(rows[0][column].startswith(("=", "+", "-", "@", "\t")) for column in text)
    assert not any(column.startswith("=") for column in rows[0])
    assert float(rows[1]["delta_m"]) == -0.5


def test_both_hold_what_is_shown() -> None:
    """Rows, their order and their figures are those of the table; what is no number is empty or null."""
    shown = show(["a", "b", "c"], sort="-x", under="101")
    rows, document = read(write_csv(shown)), json.loads(write_json(shown, "key"))
    expected = [network.row for network in shown.networks]
    assert [row["architecture_id"] for row in rows] == [row.id for row in expected]
    assert [row["madds"] for row in rows] == [str(row.madds) for row in expected]
    assert [one["architecture_id"] for one in document["networks"]] == [row.id for row in expected]
    assert [one["metrics"]["=evil()"] for one in document["networks"]] == [92.25, 91.25, 90.25]
    assert rows[0]["delta_m"] == ""
    assert document["networks"][0]["delta_m"] is None
    assert document["best"] == "arch_0"
    assert (document["study_key"], document["limit"]) == ("key", 101.0)


def test_a_study_without_networks_has_a_heading() -> None:
    """The columns stand even where nothing stands below them."""
    text = write_csv(build_study_front([], {}, {}, StudyChoices()))
    assert text.startswith("architecture_id,search_id,search,name")
    assert text.count("\r\n") == 1
