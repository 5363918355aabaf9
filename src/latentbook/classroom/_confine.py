"""What a grading process takes from itself before it runs a student's code, as far as the system allows it.

Linux: Landlock (no reading of what is not named, no writing outside one folder, no TCP, no signals to others) and
resource limits. Elsewhere only the limits that exist. Nothing here needs rights of its own.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # Landlock's system calls, the same on x86-64 and arm64
_NO_NEW_PRIVILEGES = 38
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # what each version can restrict
_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP, _SCOPES = 0b11, 0b11


def confine(own: Path, readable: Sequence[Path], *, gigabytes: float, file_megabytes: float) -> list[str]:
    """Give up rights for good.

    Args:
        own: the one folder that may be written to.
        readable: files and folders that may be read; others may not, except ``own``.
        gigabytes: of memory that this process, and each of its children, may ask for.
        file_megabytes: how large a file may become.

    Returns:
        What holds from here on: any of "memory", "files", "folders", "tcp", "signals".
    """
    return _limit(gigabytes, file_megabytes) + _landlock(own, readable)


def _limit(gigabytes: float, file_megabytes: float) -> list[str]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_megabytes * 2**20),) * 2)
    if sys.platform != "linux":  # others accept a limit of memory and do not keep it
        return ["files"]
    resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30),) * 2)
    return ["memory", "files"]


def _landlock(own: Path, readable: Sequence[Path]) -> list[str]:
    if sys.platform != "linux":
        return []
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    version = call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return []
    everything = max(rights for since, rights in _ALL.items() if since <= version)
    network = _TCP if version >= 4 else 0
    scopes = _SCOPES if version >= 6 else 0
    attributes = struct.pack("=QQQ", everything, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return []
    try:
        _allow(call, rules, own, everything)
        _allow(call, rules, Path(os.devnull), _READ | _WRITE)
        for path in readable:
            _allow(call, rules, path, (_READ | _LIST | _EXECUTE) & everything)
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) != 0:
            return []
    finally:
        os.close(rules)
    return ["folders"] + ["tcp"] * bool(network) + ["signals"] * bool(scopes)


def _allow(call: ctypes._CFuncPtr, rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        rights &= ~0 if path.is_dir() else _FILE
        if call(_ADD, ctypes.c_int(rules), ctypes.c_int(1), struct.pack("=Qi", rights, place), ctypes.c_uint32(0)):
            raise OSError(ctypes.get_errno(), f"Landlock refused a rule for {path}")
    finally:
        os.close(place)
