"""Where results live: one file a run while an experiment goes on, then one table and the story of how it was made.

For an experiment at one scale, in a folder such as ``book/results``::

    moebius-gamma/paper.csv         one row a run: method, parameters, seed, metrics, and the error of one that failed
    moebius-gamma/manifest.json     for each scale: config, versions, device, seconds, hashes, the command
    moebius-gamma/paper.partial/    rows and checkpoints of a run that is not finished

Every file is written beside its place and renamed, so that a killed run leaves whole files only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from latentbook.experiments._config import Config
from latentbook.experiments._manifest import SCHEMA, digest, provenance
from latentbook.training._runs import Group, Result, Row, write_atomically
from latentbook.training.sweep import run_groups, table

__all__ = ["Group", "Row", "StoreError", "collect", "load_results"]


class StoreError(ValueError):
    """Stored results that are damaged, or belong to another run."""


def collect(experiment: str, config: Config, groups: Sequence[Group]) -> pd.DataFrame:
    """Run what is not stored yet and return one row a run.

    A run that raised is a row with its error. Its folder stays, and the next call tries such runs again.

    Args:
        experiment: its name, as on the command line.
        config: where to (``out``; None keeps everything in memory), and whether to ``resume``.
        groups: what to run.

    Raises:
        StoreError: if ``out`` holds results of another config and ``resume`` is True, or a table that was changed.
    """
    how = {"jobs": config.jobs, "threads": config.threads, "progress": config.progress, "label": experiment}
    if config.out is None:
        return table([result.row for result in run_groups(groups, **how)])
    folder = config.out / experiment
    partial = folder / f"{config.scale}.partial"
    if config.resume and not partial.exists() and config.scale in _manifest(folder):
        _check_config(folder / "manifest.json", _manifest(folder)[config.scale], config)
        return _read(folder, config.scale)
    if not config.resume:
        shutil.rmtree(partial, ignore_errors=True)
    _claim(partial, config)
    results = run_groups(groups, folder=partial, **how)
    keys = list(dict.fromkeys(name for group in groups for settings in group.settings for name in settings))
    return _merge(folder, partial, experiment, config, results, keys)


def load_results(experiment: str, scale: str = "paper", *, folder: Path | None = None) -> pd.DataFrame | None:
    """The stored table of an experiment, None where there is none.

    Args:
        experiment: its name, such as "moebius-gamma".
        scale: "paper", "live" or "tiny".
        folder: where results are; None looks for ``book/results`` in the working directory and those above it, and
            beside the package's sources. A package installed without the book has no stored results.

    Returns:
        One row a run. How it was made stands in ``table.attrs["manifest"]``.

    Raises:
        StoreError: if the table is not the one that the manifest describes.
    """
    for place in _places() if folder is None else (Path(folder),):
        if scale in _manifest(place / experiment):
            return _read(place / experiment, scale)
    return None


def _places() -> list[Path]:
    here, package = Path.cwd(), Path(__file__).resolve().parents[3]
    return [place / "book" / "results" for place in (here, *here.parents, package)]


def _claim(partial: Path, config: Config) -> None:
    """Make the folder of an unfinished run, or check that it is the same run's."""
    claim = partial / "config.json"
    if claim.exists():
        _check_config(claim, _json(claim), config)
    write_atomically(claim, json.dumps({"schema": SCHEMA, "config": config.plain()}))


def _check_config(path: Path, story: Mapping[str, object], config: Config) -> None:
    expected = {"schema": SCHEMA, **config.plain()}
    usual = type(config)(config.scale).plain()  # of a setting that is newer than the results
    stored = {"schema": story.get("schema"), **usual, **story.get("config", {})}
    for name in sorted(set(expected) | set(stored)):
        if stored.get(name) != expected.get(name):
            found, wanted = stored.get(name), expected.get(name)
            raise StoreError(f"{path} has {name} = {found!r}; expected {wanted!r}, or --no-resume to replace it")


def _merge(
    folder: Path, partial: Path, experiment: str, config: Config, results: Sequence[Result], keys: Sequence[str]
) -> pd.DataFrame:
    """Write table and manifest, and remove what was kept on the way, unless there are runs to try again."""
    path = folder / f"{config.scale}.csv"
    write_atomically(path, table([result.row for result in results]).to_csv(index=False))
    seconds = sum(result.seconds for result in results)
    story = provenance(experiment, config, seconds=seconds, keys=keys, files=[path])
    write_atomically(folder / "manifest.json", json.dumps(_manifest(folder) | {config.scale: story}, indent=2) + "\n")
    if not any(result.raised for result in results):
        shutil.rmtree(partial)
    return _read(folder, config.scale)


def _manifest(folder: Path) -> dict[str, dict[str, object]]:
    return _json(folder / "manifest.json") if (folder / "manifest.json").exists() else {}


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path} holds {found!r}; expected a dictionary")
    return found


def _read(folder: Path, scale: str) -> pd.DataFrame:
    story = _manifest(folder)[scale]
    for name, expected in story["files"].items():
        found = digest(folder / name) if (folder / name).exists() else "no file"
        if found != expected:
            raise StoreError(f"{folder / name} has the hash {found}; expected {expected}, as in the manifest")
    table = pd.read_csv(folder / f"{scale}.csv", engine="python")  # the engine whose floats are exact
    table["error"] = table["error"].astype(object).fillna("").astype(str)
    table.attrs["manifest"] = story
    return table
