"""How a table of results came about."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from latentbook.experiments._config import Config
from latentbook.training import TrainConfig

SCHEMA = 1
LIBRARIES = ("torch", "numpy", "scipy", "pandas")


def provenance(
    experiment: str, config: Config, *, seconds: float, keys: Sequence[str], files: Sequence[Path]
) -> dict[str, object]:
    """What the manifest says about one table: enough to make it again, and to see that nobody has changed it.

    Args:
        experiment: its name.
        config: what was run.
        seconds: how long it took, without what an interrupted run lost.
        keys: the columns that tell a row from the others: method, parameters, seed.
        files: what was written.
    """
    return {
        "experiment": experiment,
        "scale": config.scale,
        "schema": SCHEMA,
        "config": config.plain(),
        "command": f"python -m latentbook.experiments {experiment} {config.options()} --out book/results",
        "package": version("latentbook"),
        "commit": commit(),
        "device": device(config.device),
        "threads": config.threads,
        "libraries": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "keys": list(keys),
        "files": {path.name: digest(path) for path in files},
    }


def digest(path: Path) -> str:
    """The sha256 of a text file, the same after a checkout that has changed its line ends."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def device(name: str) -> str:
    """The kind of device, without the machine's name."""
    found = TrainConfig(device=name).resolve_device()
    return torch.cuda.get_device_name(found) if found.type == "cuda" else f"cpu ({platform.machine()})"


def commit() -> str | None:
    """The commit of the package's sources, marked where they have changed since; None outside a checkout."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "..")
        return git("rev-parse", "HEAD") + (" and changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
