"""A class at a glance: tables of points, and a page on where it struggled."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd

from latentbook.classroom.course import Course
from latentbook.classroom.release import write

KINDS = {
    "visible": "a check that students see failed",
    "hidden": "a hidden check failed",
    "error": "an error",
    "timeout": "too slow",
    "died": "ended Python",
    "not run": "not run",
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ name }}: where the class struggled</title>
<style>
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } th, td { text-align: left; padding: .25rem .6rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr { border-bottom: 1px solid #ddd; }
.bar { background: #e6e6e6; min-width: 8rem; height: .8rem; }
.bar i { display: block; height: 100%; background: #0072b2; }
</style>
<h1>{{ name }}: where the class struggled</h1>
<p>{{ students }} submissions graded. Autograded points: median {{ '%g' % median }} of {{ '%g' % most }}, from
{{ '%g' % lowest }} to {{ '%g' % highest }}. {{ outstanding }} answers wait to be marked by hand.</p>
<h2>Tests, the hardest first</h2>
<table><tr><th>test<th class=n>points<th class=n>passed<th><th>why it failed</tr>
{% for row in tests %}<tr><td>{{ row.cell }}<td class=n>{{ '%g' % row.points }}
<td class=n>{{ row.passed }}/{{ students }}
<td><div class=bar><i style="width: {{ '%.0f' % (100 * row.share) }}%"></i></div><td>{{ row.why }}</tr>
{% endfor %}</table>
<h2>Marked by hand</h2>
<table><tr><th>part<th class=n>points<th class=n>mean of those marked<th class=n>outstanding</tr>
{% for row in manual %}<tr><td>{{ row.cell }}<td class=n>{{ '%g' % row.points }}<td class=n>{{ row.mean }}
<td class=n>{{ row.outstanding }}</tr>
{% endfor %}</table>
<h2>Look at these by eye</h2>
{% if notes %}<table>{% for student, lines in notes %}<tr><td>{{ student }}<td>{{ lines | join(' ') }}</tr>
{% endfor %}</table>{% else %}<p>Nothing out of the ordinary.</p>{% endif %}
{% if missing %}<p>What this system did not guard against while grading: {{ missing | join('; ') }}.</p>{% endif %}
</html>
"""


def export(course: Course, name: str, out: Path) -> pd.DataFrame:
    """Write ``NAME-students.csv``, a row a student, and ``NAME-cells.csv``, a row a student and cell.

    Returns:
        Of these, a row a student with autograded, manual, score, max_score and outstanding (parts not marked yet).

    Raises:
        ValueError: if nobody has been graded.
    """
    cells = _cells(course, name)
    students = cells.pivot_table(index="student", columns="kind", values="score", aggfunc="sum", fill_value=0.0)
    students = students.reindex(columns=["autograded", "manual"], fill_value=0.0)
    students["score"] = students.sum(axis=1)
    groups = cells.groupby("student")
    students["max_score"], students["outstanding"] = groups["max_score"].sum(), groups["outstanding"].sum()
    students.insert(0, "assignment", name)
    students.columns.name = None
    students = students.reset_index()
    for file, table in {"students": students, "cells": cells}.items():
        write(out / f"{name}-{file}.csv", _plain(table).to_csv(index=False).encode())
    return students


def summary(course: Course, name: str) -> str:
    """The page on a class, as HTML.

    Raises:
        ValueError: if nobody has been graded.
    """
    cells = _cells(course, name)
    students = cells["student"].nunique()
    auto = cells[cells["kind"] == "autograded"]
    totals = auto.groupby("student")["score"].sum()
    tests, manual = [], []
    for cell, rows in auto.groupby("cell", sort=False):
        failed = rows[rows["verdict"] != "passed"]["verdict"].value_counts()
        why = ", ".join(f"{count}: {KINDS.get(kind, kind)}" for kind, count in failed.items())
        passed = int((rows["verdict"] == "passed").sum())
        points = rows["max_score"].iloc[0]
        tests.append({"cell": cell, "points": points, "passed": passed, "share": passed / students, "why": why})
    for cell, rows in cells[cells["kind"] == "manual"].groupby("cell", sort=False):
        marked = rows[~rows["outstanding"]]["score"]
        mean = f"{marked.mean():.1f}" if len(marked) else "–"
        waiting = int(rows["outstanding"].sum())
        manual.append({"cell": cell, "points": rows["max_score"].iloc[0], "mean": mean, "outstanding": waiting})
    reports = {student: course.report(name, student) for student in course.students(name, "autograded")}
    return (
        jinja2.Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            name=name,
            students=students,
            median=totals.median(),
            lowest=totals.min(),
            highest=totals.max(),
            most=auto.drop_duplicates("cell")["max_score"].sum(),
            outstanding=int(cells["outstanding"].sum()),
            tests=sorted(tests, key=lambda row: row["share"]),
            manual=manual,
            notes=[(student, report["notes"]) for student, report in reports.items() if report.get("notes")],
            missing=sorted({line for report in reports.values() for line in report.get("missing", [])}),
        )
    )


def _cells(course: Course, name: str) -> pd.DataFrame:
    rows = course.points(name)
    if not rows:
        raise ValueError(f"nobody has been graded for {name!r}; expected autograde to have run")
    return pd.DataFrame(rows)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Text that no spreadsheet takes for a formula: students choose their names and messages."""
    table = table.copy()
    for column in table.select_dtypes(include=["object", "string"]).columns:
        text = table[column].astype(str)
        table[column] = text.where(~text.str.match(r"[=+\-@\t\r]"), "'" + text)
    return table
