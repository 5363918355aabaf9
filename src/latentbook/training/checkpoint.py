"""Atomic checkpoints: one safetensors file, tensors and a JSON header, no pickle."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "latentbook-checkpoint-1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, is not ours, or belongs to another run."""


def writable_directory(path: Path) -> None:
    """Create the directory of ``path`` and make sure that a file can be written there.

    Raises:
        PermissionError: if it cannot, naming the directory.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise PermissionError(f"checkpoint is {path}; expected a path in a directory that can be written") from error


def save(path: Path, tensors: dict[str, Tensor], header: dict[str, object]) -> None:
    """Write a checkpoint: to a temporary file beside it, flushed to disk, then renamed in one step."""
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(flat, temporary, metadata={"format": FORMAT, "header": json.dumps(header)})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors (on the CPU) and header of a checkpoint.

    Raises:
        CheckpointError: if the file is truncated, damaged, or not a checkpoint of this package.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                found = metadata.get("format", "a safetensors file of another kind")
                raise CheckpointError(f"checkpoint {path} is {found!r}; expected {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads(metadata["header"])
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"checkpoint {path} is truncated, damaged or not safetensors: {error}") from error


def check_same(path: Path, saved: dict[str, object], current: dict[str, object], what: str) -> None:
    """Raise a CheckpointError that names the first entry in which ``saved`` and ``current`` differ."""
    current = json.loads(json.dumps(current))
    for name in sorted(set(saved) | set(current)):
        if saved.get(name) != current.get(name):
            raise CheckpointError(
                f"checkpoint {path} has {what} {name} = {saved.get(name)!r}; expected {current.get(name)!r}"
            )


def restore(path: Path, module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Load the tensors under ``prefix`` into ``module``.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    state = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {path} was written for another {prefix.rstrip('.')}: {error}") from error
