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
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from latentbook.experiments._config import Config
from latentbook.experiments._manifest import SCHEMA, digest, provenance, threads, write_atomically

Row = dict[str, object]


class StoreError(ValueError):
    """Stored results that are damaged, or belong to another run."""


@dataclass(frozen=True)
class Group:
    """Runs that are trained together: the members of one fit.

    Attributes:
        name: of the group, the beginning of its files' names.
        settings: method, parameters and seed of every run, plain values.
        measure: called with the path of a checkpoint (None: keep nothing); trains, and returns the metrics of every
            run in the order of ``settings``. A run that failed has the entry "error" instead.
    """

    name: str
    settings: Sequence[Row]
    measure: Callable[[Path | None], Sequence[Row]]

    def rows(self, checkpoint: Path | None = None) -> list[Row]:
        """Settings, metrics and error of every run."""
        metrics = self.measure(checkpoint)
        return [{**s, **m, "error": m.get("error", "")} for s, m in zip(self.settings, metrics, strict=True)]


def collect(experiment: str, config: Config, groups: Sequence[Group]) -> pd.DataFrame:
    """Run what is not stored yet and return one row a run.

    Args:
        experiment: its name, as on the command line.
        config: where to (``out``; None keeps everything in memory), and whether to ``resume``.
        groups: what to run.

    Raises:
        StoreError: if ``out`` holds results of another config and ``resume`` is True, or a table that was changed.
    """
    if config.out is None:
        with threads(config.threads):
            return _table([row for group in _bar(groups, experiment) for row in group.rows()])
    folder = config.out / experiment
    partial = folder / f"{config.scale}.partial"
    if config.resume and not partial.exists() and config.scale in _manifest(folder):
        _check_config(folder / "manifest.json", _manifest(folder)[config.scale], config)
        return _read(folder, config.scale)
    if not config.resume:
        shutil.rmtree(partial, ignore_errors=True)
    _claim(partial, config)
    with threads(config.threads):
        stored = [row for group in _bar(groups, experiment) for row in _run(partial, group)]
    keys = list(dict.fromkeys(name for group in groups for settings in group.settings for name in settings))
    return _merge(folder, partial, experiment, config, stored, keys)


def _bar(groups: Sequence[Group], experiment: str) -> tqdm:
    return tqdm(groups, desc=experiment, unit="group", disable=None)


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
    stored = {"schema": story.get("schema"), **story.get("config", {})}
    for name in sorted(set(expected) | set(stored)):
        if stored.get(name) != expected.get(name):
            found, wanted = stored.get(name), expected.get(name)
            raise StoreError(f"{path} has {name} = {found!r}; expected {wanted!r}, or --no-resume to replace it")


def _run(partial: Path, group: Group) -> list[Row]:
    """The stored rows of a group, each with the seconds it took, after running it where one is missing."""
    paths = [partial / f"{group.name}-{number:04d}.json" for number in range(len(group.settings))]
    stored = [_row(path, settings) for path, settings in zip(paths, group.settings, strict=True)]
    if None not in stored:
        return stored
    checkpoint = partial / f"{group.name}.safetensors"
    begin = time.perf_counter()
    rows = group.rows(checkpoint)
    seconds = (time.perf_counter() - begin) / len(rows)
    stored = [{"row": row, "seconds": seconds} for row in rows]
    for path, entry in zip(paths, stored, strict=True):
        write_atomically(path, json.dumps(entry))
    checkpoint.unlink(missing_ok=True)
    return stored


def _row(path: Path, settings: Row) -> Row | None:
    """A stored row, None where it is missing or must be computed again."""
    if not path.exists():
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        same = settings.items() <= entry["row"].items() and entry["seconds"] >= 0
    except (ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        warnings.warn(f"{path} is damaged or another run's; it is computed again", RuntimeWarning, stacklevel=4)
    return entry if same else None


def _merge(
    folder: Path, partial: Path, experiment: str, config: Config, stored: Sequence[Row], keys: Sequence[str]
) -> pd.DataFrame:
    """Write table and manifest, and remove what was kept on the way."""
    path = folder / f"{config.scale}.csv"
    write_atomically(path, _table([entry["row"] for entry in stored]).to_csv(index=False))
    seconds = sum(entry["seconds"] for entry in stored)
    story = provenance(experiment, config, seconds=seconds, keys=keys, files=[path])
    write_atomically(folder / "manifest.json", json.dumps(_manifest(folder) | {config.scale: story}, indent=2) + "\n")
    shutil.rmtree(partial)
    return _read(folder, config.scale)


def _table(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a run, the error last."""
    table = pd.DataFrame(rows)
    return table[[name for name in table.columns if name != "error"] + ["error"]]


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
