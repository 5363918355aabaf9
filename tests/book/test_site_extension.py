"""Where the repository's address may come from, and what it may look like."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.errors import ConfigError


@pytest.fixture(scope="module")
def extension(root: Path):
    """The book's Sphinx extension as a module."""
    spec = importlib.util.spec_from_file_location("latentbook_site", root / "book" / "assets" / "latentbook_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://github.com/owner/name", "https://github.com/owner/name"),
        ("https://github.com/owner/name.git", "https://github.com/owner/name"),
        ("https://user:secret@github.com/owner/name.git", "https://github.com/owner/name"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("ssh://git@gitlab.com:22/group/sub/name.git", "https://gitlab.com/group/sub/name"),
        ("/srv/git/name.git", None),
        ("../name", None),
        ("file:///srv/github.com/owner/name", None),
        ("https://example.org/owner/name", None),
        ("https://github.com.example.org/owner/name", None),
        ("https://github.com/owner", None),
        ("", None),
    ],
)
def test_only_known_hosts_are_an_address(extension, address: str, expected: str | None) -> None:
    assert extension.normalise(address) == expected


@pytest.fixture
def checkout(tmp_path: Path):
    """Return a function that makes a checkout with a given remote."""

    def make(remote: str | None) -> Path:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        if remote:
            subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", remote], check=True)
        return tmp_path

    return make


def test_the_remote_is_used_when_it_is_public(extension, checkout) -> None:
    assert extension.repository_address(checkout("git@github.com:a/b.git"), {}) == "https://github.com/a/b"


@pytest.mark.parametrize("remote", [None, "/srv/git/b.git"])
def test_no_remote_or_a_local_one_is_no_address(extension, checkout, remote: str | None) -> None:
    assert extension.repository_address(checkout(remote), {}) is None


def test_the_environment_comes_first(extension, checkout) -> None:
    root = checkout("git@github.com:a/b.git")
    found = extension.repository_address(root, {"LATENTBOOK_REPOSITORY": "https://gitlab.com/c/d"})
    assert found == "https://gitlab.com/c/d"


def test_a_wrong_environment_is_an_error_that_names_it(extension, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"LATENTBOOK_REPOSITORY='nowhere': expected"):
        extension.repository_address(tmp_path, {"LATENTBOOK_REPOSITORY": "nowhere"})


@pytest.mark.parametrize(
    ("address", "launchers"),
    [
        (None, None),
        ("https://github.com/a/b", {"notebook_interface", "binderhub_url", "colab_url"}),
        ("https://gitlab.com/a/b", {"notebook_interface", "binderhub_url"}),
    ],
)
def test_buttons_follow_the_address(extension, monkeypatch, tmp_path: Path, address, launchers) -> None:
    monkeypatch.setattr(extension, "repository_address", lambda root: address)
    config = SimpleNamespace(html_theme_options={"repository_url": ""})
    extension.use_repository(SimpleNamespace(confdir=tmp_path), config)
    options = config.html_theme_options
    assert options.get("repository_url") == address
    assert options.get("use_issues_button", False) is (address is not None)
    assert (set(options["launch_buttons"]) if address else None) == launchers
