"""The book's own Sphinx extension: small things the site needs.

* inline scripts that Sphinx lists twice are kept once (twice, they are a syntax error in the browser);
* the repository's address comes from ``LATENTBOOK_REPOSITORY`` or from the git remote ``origin``, nowhere else: the
  Binder, Colab, repository and issue buttons appear only when it is known;
* entries of the bibliography are items of their list, for screen readers, too.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from sphinx.errors import ConfigError

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


def mend_roles(app, page, template, context, doctree) -> None:
    """Make entries of a bibliography what their list may hold: Sphinx gives them a role that is no list item."""
    if 'role="doc-biblioentry"' in context.get("body", ""):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app) -> dict[str, object]:
    """Connect the pieces."""
    app.connect("config-inited", use_repository)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", unique_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
