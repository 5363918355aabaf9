"""What a student gets back: points, visible messages and comments, and nothing of what instructors alone may see.

The feedback of nbgrader shows hidden tests and mark schemes. Here every cell that is not the student's is shown as in
the release, a failing hidden check is told as that and no more, tests show no output, and other output that repeats a
hidden line is left out. (A student's code runs beside the tests and could carry away *values* it was called with: take
another variant each year.)
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from copy import deepcopy

import bleach
import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from latentbook.classroom.assignment import grade_id, is_answer, kind_of
from latentbook.classroom.course import Course
from latentbook.classroom.release import leaks, secrets, write

_TAG = re.compile(r"<(?=[a-zA-Z/!?])")  # where HTML begins in Markdown
_KINDS = ("text/plain", "text/html", "image/png", "image/jpeg")
_TAGS = set("table thead tbody tr th td div p span b i em strong code pre br ul ol li".split())
WITHHELD = "(This output repeats lines of a test that students do not see; it is left out.)"


def feedback(course: Course, name: str, students: Iterable[str] = ()) -> list[str]:
    """Write the feedback of everybody who was graded, or of some, and return who that was."""
    done = list(students) or course.students(name, "autograded")
    source, release = course.source(name), course.release(name)
    rows = course.points(name)
    for student in done:
        graded = nbformat.read(course.path("autograded", name, student), as_version=4)
        own = [row for row in rows if row["student"] == student]
        notebook = page(source, release, graded, own, course.report(name, student).get("notes", []))
        write(course.path("feedback", name, student, ".html"), to_html(notebook, f"{name}: {student}").encode())
    return done


def page(
    source: NotebookNode, release: NotebookNode, graded: NotebookNode, rows: list[dict], notes: list[str]
) -> NotebookNode:
    """The feedback as a notebook.

    Args:
        source: the whole assignment.
        release: the students' version.
        graded: the graded submission.
        rows: its points, as :meth:`~latentbook.classroom.course.Course.points` gives them.
        notes: what grading noted.
    """
    shown = {grade_id(cell): cell for cell in release.cells if grade_id(cell)}
    points = {row["cell"]: row for row in rows}
    notebook = deepcopy(graded)
    notebook.cells, cells = [_overview(rows, notes)], notebook.cells
    for cell in cells:
        name = grade_id(cell)
        if name in shown and not is_answer(cell):
            cell.source = shown[name].source
        if cell.cell_type == "code":
            cell.outputs = [] if kind_of(cell) == "test" else _safe(source, cell.outputs)
        if cell.cell_type == "markdown" and (name not in shown or is_answer(cell)):
            cell.source = _TAG.sub("&lt;", cell.source)
        cell.metadata = NotebookNode()
        notebook.cells.append(cell)
        if name in points:
            notebook.cells.append(_note(points[name]))
    return notebook


def to_html(notebook: NotebookNode, title: str) -> str:
    """A page of its own; formulas need a network."""
    exporter = HTMLExporter()
    exporter.require_js_url = exporter.jquery_url = ""
    resources = {"metadata": {"name": title}}
    return exporter.from_notebook_node(notebook, resources)[0]


def _safe(source: NotebookNode, outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs without those that hold a hidden line, or a text that stands in quotes in one."""
    quoted = [text for line in secrets(source) for text in re.findall(r"""["']([^"']{16,})["']""", line)]
    kept = []
    for output in outputs:
        text = [output.get("text", ""), *output.get("traceback", []), *map(str, output.get("data", {}).values())]
        shown = html.unescape("\n".join(text).replace("\\n", "\n"))
        if leaks(source, shown) or any(text in shown for text in quoted):
            output = nbformat.v4.new_output("stream", text=WITHHELD)
        if "data" in output:
            output.data = {kind: _clean(kind, value) for kind, value in output.data.items() if kind in _KINDS}
        kept.append(output)
    return kept


def _clean(kind: str, value: str) -> str:
    """Of a student's HTML only tables and the like, so that it runs nothing in anybody's browser."""
    if kind != "text/html":
        return value
    return bleach.clean(
        re.sub("(?s)<style.*?</style>", "", value), tags=_TAGS, attributes=["border", "class"], strip=True
    )


def _overview(rows: list[dict], notes: list[str]) -> NotebookNode:
    """Points at a glance."""
    score, most = (sum(row[key] for row in rows) for key in ("score", "max_score"))
    waiting = sum(row["outstanding"] for row in rows)
    lines = [f"**{score:g} of {most:g} points**", ""]
    if waiting:
        lines[0] += f", {waiting} part{'s' * (waiting > 1)} not marked yet"
    lines += ["| part | points | of |", "|:--|--:|--:|"]
    for row in rows:
        got = "not marked yet" if row["outstanding"] else f"{row['score']:g}"
        lines.append(f"| {row['cell']} | {got} | {row['max_score']:g} |")
    lines += ["", *(f"- {_text(note)}" for note in notes)]
    return nbformat.v4.new_markdown_cell("\n".join(lines), id="overview")


def _note(row: dict) -> NotebookNode:
    """Points and words on one part, to stand below it."""
    points = "not marked yet" if row["outstanding"] else f"{row['score']:g} of {row['max_score']:g} points"
    words = [f"**{row['cell']}: {points}.**"]
    words += [_text(row[key]) for key in ("message", "comment") if row[key]]
    return nbformat.v4.new_markdown_cell("> " + " ".join(words), id=f"points-{row['cell']}"[:64])


def _text(words: str) -> str:
    """Words that Markdown leaves as they are."""
    plain = html.escape(" ".join(words.split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]$|#~" else letter for letter in plain)
