"""The book's own Sphinx extension: small things the site needs.

* inline scripts that Sphinx lists twice are kept once (twice, they are a syntax error in the browser);
* the repository's address comes from ``LATENTBOOK_REPOSITORY`` or from the git remote ``origin``, nowhere else: the
  Binder, Colab, repository and issue buttons appear only when it is known;
* every chapter can be downloaded as an executed notebook, with or without an address;
* entries of the bibliography are items of their list, for screen readers, too;
* ``{measured}`` prints what a chapter costs to run, from ``measured.json``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.errors import ConfigError
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
MEASURED = HERE / "measured.json"
ADDRESS = re.compile(
    r"(?:https?://(?:[^@/\s]+@)?|ssh://(?:[^@/\s]+@)?|[\w.-]+@)"
    r"(?P<host>github\.com|gitlab\.com)(?::\d+)?[/:](?P<path>[\w.-]+(?:/[\w.-]+)+)/?"
)


def normalise(address: str) -> str | None:
    """Give the web address of a repository on github.com or gitlab.com, or None for anything else.

    Args:
        address: an http(s) or ssh address, as git knows it; names and passwords in it are dropped.
    """
    match = ADDRESS.fullmatch(address.strip())
    return f"https://{match['host']}/{match['path'].removesuffix('.git')}" if match else None


def repository_address(root: Path, environment: dict[str, str] | None = None) -> str | None:
    """Find the repository's web address: the environment first, then the git remote ``origin``.

    Raises:
        ConfigError: ``LATENTBOOK_REPOSITORY`` is set to something that is no such address.
    """
    given = (os.environ if environment is None else environment).get("LATENTBOOK_REPOSITORY", "")
    if given:
        if normalise(given) is None:
            raise ConfigError(
                f"LATENTBOOK_REPOSITORY={given!r}: expected a repository on github.com or gitlab.com, "
                "such as https://HOST/OWNER/NAME"
            )
        return normalise(given)
    try:
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return normalise(found.stdout) if found.returncode == 0 else None


def use_repository(app, config) -> None:
    """Switch the repository's buttons on, when and only when its address is known."""
    options = config.html_theme_options
    address = repository_address(Path(app.confdir))
    if address is None:
        options.pop("repository_url", None)
        return
    options.update(repository_url=address, use_repository_button=True, use_issues_button=True)
    launch = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
    if "github.com" in address:
        launch["colab_url"] = "https://colab.research.google.com"
    options["launch_buttons"] = launch


def unique_scripts(app, page, template, context, doctree) -> None:
    """Keep the first of scripts that agree in file and attributes."""
    seen, scripts = set(), []
    for script in context.get("script_files", []):
        key = (getattr(script, "filename", script) or "", tuple(sorted(getattr(script, "attributes", {}).items())))
        if key not in seen:
            seen.add(key)
            scripts.append(script)
    context["script_files"] = scripts


def offer_notebook(app, page, template, context, doctree) -> None:
    """Put the executed notebook beside the page's source, so that the download button offers it."""
    notebook = Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
    if doctree is not None and "kernelspec" in app.env.metadata.get(page, {}) and notebook.exists():
        target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(notebook, target)
        context["ipynb_source"] = f"{page}.ipynb"


def mend_roles(app, page, template, context, doctree) -> None:
    """Make entries of a bibliography what their list may hold: Sphinx gives them a role that is no list item."""
    if 'role="doc-biblioentry"' in context.get("body", ""):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


class Measured(Directive):
    """``{measured}``: one line with the seconds and the memory this chapter took when it was measured."""

    def run(self) -> list[nodes.Node]:
        """Return the line, or warn and return nothing when the chapter was never measured."""
        env = self.state.document.settings.env
        env.note_dependency(str(MEASURED))
        table = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        row = table.get(f"{env.docname}.md")
        if row is None:
            LOGGER.warning(
                "no measurement of %s.md: run `make notebooks`", env.docname, location=(env.docname, self.lineno)
            )
            return []
        cores = f"{row['cores']} CPU core" + ("" if row["cores"] == 1 else "s")
        text = f"Runs in {row['seconds']:.0f} s and {row['megabytes'] / 1000:.1f} GB on {cores} (measured)."
        return [nodes.paragraph("", text, classes=["measured"])]


def setup(app) -> dict[str, object]:
    """Connect the pieces."""
    app.add_directive("measured", Measured)
    app.connect("config-inited", use_repository)
    app.connect("html-page-context", offer_notebook, priority=500)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", unique_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
