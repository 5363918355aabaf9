"""Forget executed chapters when something they depend on has changed.

jupyter-cache looks at a chapter's own code only. This script hashes what else decides its outputs (the package, the
stored results, the book's assets, the library versions) and, when the hash differs from the last build's, deletes the
cache and Sphinx's doctrees.

    python tools/cache.py
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# measured.json is left out: Sphinx itself rereads the pages that print it
INPUTS = ("src", "book/assets", "book/results", "constraints.txt", "pyproject.toml")
SKIP = ("__pycache__", ".egg-info", "measured.json", ".partial", ".ipynb_checkpoints")


def fingerprint(root: Path) -> str:
    """Hash the names and contents of all inputs."""
    files = [path for name in INPUTS for path in [root / name, *(root / name).rglob("*")] if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        name = path.relative_to(root).as_posix()
        if not any(part in name for part in SKIP):
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def refresh(root: Path = ROOT) -> bool:
    """Drop ``_build``'s cache and doctrees when the inputs have changed; say whether they had."""
    build, now = root / "_build", fingerprint(root)
    stamp = build / ".inputs"
    if stamp.exists() and stamp.read_text() == now:
        return False
    for folder in (".jupyter_cache", ".doctrees", "jupyter_execute"):
        shutil.rmtree(build / folder, ignore_errors=True)
    build.mkdir(exist_ok=True)
    stamp.write_text(now)
    return True


if __name__ == "__main__":
    print("the package or the assets changed: chapters run again" if refresh() else "chapters' cache is current")
