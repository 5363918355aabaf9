r"""Slides from the chapters: their questions, statements, figures and summaries, without the prose between.

A chapter becomes one HTML file with its pictures inside, which needs nothing but a browser: arrow keys turn the pages,
printing gives a handout. Formulas are set by the book's own copy of MathJax, which is put beside it. What goes on a
slide: every heading of the second level, and below it predictions asked of the reader, theorems and the like, displayed
formulas, figures and summaries.
"""

from __future__ import annotations

import base64
import html
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from nbformat import NotebookNode

from latentbook.classroom.figures import Figure, chapters, executed, figures
from latentbook.classroom.release import write

_MATHJAX = Path("book", "assets", "static", "mathjax")
_BOXES = r"(prf:(?:theorem|proposition|lemma|definition|corollary|example|remark)|admonition)"
_BLOCK = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>[\w:-]+)\}[ ]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.M | re.S
)
_OPTION = re.compile(r"\A\s*(?::[\w-]+:[^\n]*\n)*")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%(title)s</title>
<script>MathJax = {tex: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]], tags: "none"}};</script>
<script defer src="mathjax/tex-mml-chtml.js"></script>
<style>
body { margin: 0; font: 26px/1.4 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
section { box-sizing: border-box; min-height: 100vh; padding: 4vh 7vw; display: none; flex-direction: column;
  justify-content: center; }
section.on { display: flex; }
h1 { font-size: 2em; } h2 { font-size: 1.3em; margin: 0 0 .6em; color: #0b5394; }
img { max-width: 100%%; max-height: 68vh; object-fit: contain; align-self: center; }
.caption { font-size: .7em; color: #444; } .box { border-left: .2em solid #0b5394; padding-left: 1em; }
nav { position: fixed; right: 1rem; bottom: .6rem; font-size: 16px; color: #666; }
nav button { font: inherit; padding: .2rem .6rem; }
@media print { section { display: flex; break-after: page; min-height: auto; } nav { display: none; } }
@media (max-width: 700px) { body { font-size: 18px; } section { padding: 4vh 5vw; } }
</style></head><body>
%(slides)s
<nav><button id="back" aria-label="Back">&larr;</button> <span id="where" aria-live="polite"></span>
<button id="on" aria-label="Forward">&rarr;</button></nav>
<script>
const slides = [...document.querySelectorAll("section")];
let at = Math.min(Math.max(parseInt(location.hash.slice(1)) || 1, 1), slides.length) - 1;
function show(number) {
  at = Math.min(Math.max(number, 0), slides.length - 1);
  slides.forEach((slide, index) => slide.classList.toggle("on", index === at));
  document.getElementById("where").textContent = (at + 1) + " / " + slides.length;
  history.replaceState(null, "", "#" + (at + 1));
}
document.addEventListener("keydown", event => {
  if (["ArrowRight", "PageDown", " "].includes(event.key)) { event.preventDefault(); show(at + 1); }
  if (["ArrowLeft", "PageUp"].includes(event.key)) { event.preventDefault(); show(at - 1); }
  if (event.key === "Home") show(0);
  if (event.key === "End") show(slides.length - 1);
});
document.getElementById("back").onclick = () => show(at - 1);
document.getElementById("on").onclick = () => show(at + 1);
show(at);
</script></body></html>
"""


def export(root: Path, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the slides of every chapter, or of some, and an index.

    Args:
        root: a copy of the book's repository.
        out: where to.
        names: chapters, such as "gap/the-elbo-gap"; all of them when empty.

    Returns:
        The chapters' files.
    """
    written, titles = [], []
    for chapter in names or chapters(root):
        notebook = executed(root, chapter)
        path = out / f"{chapter.replace('/', '-')}.html"
        title = _title(notebook)
        write(path, page(notebook, title).encode())
        written.append(path)
        titles.append(f'<li><a href="{path.name}">{html.escape(title)}</a></li>')
    shutil.copytree(root / _MATHJAX, out / "mathjax", dirs_exist_ok=True)
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title><h1>Slides</h1>'
    write(out / "index.html", f"{head}<ul>{''.join(titles)}</ul>\n".encode())
    return written


def page(notebook: NotebookNode, title: str) -> str:
    """The slides of an executed chapter, as a page of HTML."""
    slides = [f"<h1>{_inline(title)}</h1>"]
    heading = ""
    glued, shown = _glued(notebook), {}
    for figure in figures(notebook):
        shown.setdefault(figure.cell, []).append(figure)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = _plain(cell.source, glued)
            slides.extend(f"<h2>{_inline(above)}</h2>{content}" for above, content in _parts(text, heading))
            heading = (re.findall(r"^## (.+)$", text, re.MULTILINE) or [heading])[-1]
        slides.extend(f"<h2>{_inline(heading)}</h2>{_picture(figure, glued)}" for figure in shown.get(number, ()))
    return _PAGE % {"title": html.escape(title), "slides": "\n".join(f"<section>{slide}</section>" for slide in slides)}


def _title(notebook: NotebookNode) -> str:
    found = re.search(r"^# (.+)$", "\n".join(cell.source for cell in notebook.cells[:3]), re.MULTILINE)
    return found[1] if found else "Slides"


def _parts(text: str, heading: str) -> Iterator[tuple[str, str]]:
    """Heading and HTML of each slide in a cell of Markdown."""
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        if part.startswith("## "):
            heading = part.splitlines()[0][3:]
        if part.startswith("## Summary"):
            points = re.search(r"^- .*?(?=\n\n(?! )|\Z)", part, re.MULTILINE | re.DOTALL)
            if points:
                yield heading, _html(points[0])
            continue
        for block in _BLOCK.finditer(part):
            kind, body = block["kind"], _OPTION.sub("", block["body"], count=1)
            if kind == "math":
                yield heading, f"<p>$$ {html.escape(body.strip())} $$</p>"
            elif re.fullmatch(_BOXES, kind) and "class: chapter-box" not in block["body"]:
                name = block["title"].strip() or kind.split(":")[-1].capitalize()
                yield heading, f'<div class="box"><p><strong>{_inline(name)}</strong></p>{_html(body)}</div>'


def _picture(figure: Figure, glued: dict[str, str]) -> str:
    data = base64.b64encode(figure.png).decode()
    caption = _inline(_plain(figure.caption, glued))
    shown = f'<img src="data:image/png;base64,{data}" alt="{html.escape(figure.alt)}">'
    return f'{shown}<p class="caption">{caption}</p>'


def _glued(notebook: NotebookNode) -> dict[str, str]:
    """The numbers that cells glue, by name, as text."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            for kind, value in output.get("data", {}).items():
                if name and kind.endswith("text/plain"):
                    found[name] = value.strip("'\"")
    return found


def _plain(text: str, glued: dict[str, str]) -> str:
    """Markdown without the roles that only the site understands."""
    text = re.sub(r"^\([\w-]+\)=\n|(?<=\$\$) *\([\w:-]+\)$", "", text, flags=re.MULTILINE)

    def role(match: re.Match[str]) -> str:
        kind, content = match[1], match[2]
        if kind.startswith("glue"):
            name, _, form = content.partition(":")
            value = glued.get(name, "…")
            try:
                return format(float(value), form) if form else value
            except ValueError:
                return value
        if kind.startswith("cite"):
            return ""
        return (
            content.split(" <")[0] if " <" in content else "" if kind in ("eq", "numref", "ref", "prf:ref") else content
        )

    return re.sub(r"\{([\w:.-]+)\}`([^`]*)`", role, text)


def _shielded(text: str) -> tuple[str, list[str]]:
    """Text with its formulas put aside, which Markdown would spoil."""
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(html.escape(match[0]))
        return f"\x02{len(kept) - 1}\x03"

    return re.sub(r"\$\$.+?\$\$|\$[^$\n]+\$", hide, text, flags=re.DOTALL), kept


def _restored(text: str, kept: list[str]) -> str:
    return re.sub("\x02(\\d+)\x03", lambda match: kept[int(match[1])], text)


def _html(text: str) -> str:
    inner, kept = _shielded(_BLOCK.sub(lambda block: f"$$ {block['body']} $$" if block["kind"] == "math" else "", text))
    return _restored(MarkdownIt("commonmark").enable("table").render(inner), kept)


def _inline(text: str) -> str:
    inner, kept = _shielded(text)
    return _restored(MarkdownIt("commonmark").renderInline(inner), kept)
