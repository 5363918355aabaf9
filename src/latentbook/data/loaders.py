"""Readers of three official data sets, for those who have the files. Nothing is downloaded, nothing is unpickled.

============  =========================================================  =================  =========================
name          what ``path`` is                                           rows               factors
============  =========================================================  =================  =========================
``dsprites``  dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz             737,280 x 4,096    shape 3, scale 6,
                                                                         of 0 and 1         orientation 40,
                                                                                            pos_x 32, pos_y 32
``cars3d``    the folder ``cars`` of nips2015-analogy-data.tar.gz        17,568 x 12,288    elevation 4, azimuth 24,
                                                                         in colour          model 183
``faces3d``   the renderings of Basel faces as a .npy or .npz file       127,050 x 4,096    identity 50, azimuth 21,
                                                                         in grey            elevation 11, lighting 11
============  =========================================================  =================  =========================

Sources: *dSprites* of L. Matthey et al. (2017, https://github.com/google-deepmind/dsprites-dataset, Apache-2.0; the
book renders it, see :mod:`latentbook.data.sprites`). *Cars3D* from S. Reed et al., *Deep Visual Analogy-Making*,
NeurIPS 2015 (http://www.scottreed.info; its licence is not known to us). *3D faces*, rendered for R. T. Q. Chen et al.,
*Isolating Sources of Disentanglement in Variational Autoencoders*, NeurIPS 2018, from the face model of P. Paysan et
al. (2009); its licence does not let the authors pass them on, nor us.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from scipy.io import loadmat

from latentbook.data import sprites
from latentbook.data.byte_images import ByteImages
from latentbook.data.dataset import Dataset

DSPRITES_MD5 = "7da33b31b13a06f4b04a70402ce90c2e"
"""Of the official file; its authors give none, this one stands in several public libraries that download it."""
CARS3D_FACTORS = ("elevation", "azimuth", "model")
CARS3D_SIZES = (4, 24, 183)
FACES3D_FACTORS = ("identity", "azimuth", "elevation", "lighting")
FACES3D_SIZES = (50, 21, 11, 11)

StrPath = str | os.PathLike[str]

_SIDE = 64
_CHUNK = 4096  # pictures read at a time
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TokenError, zipfile.BadZipFile, zlib.error)


def load(name: str, path: StrPath, **options: str | None) -> Dataset:
    """Read an official data set by name.

    Args:
        name: "dsprites", "cars3d" or "faces3d".
        path: its file or folder.
        options: passed on to :func:`dsprites`, :func:`cars3d` or :func:`faces3d`.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        ValueError: if the name is not known, or the file is damaged or another one.
    """
    readers: dict[str, Callable[..., Dataset]] = {"dsprites": dsprites, "cars3d": cars3d, "faces3d": faces3d}
    if name not in readers:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(map(repr, readers))}")
    return readers[name](path, **options)


def dsprites(path: StrPath, *, md5: str | None = DSPRITES_MD5) -> sprites.Sprites:
    """The official dSprites archive: the data set that :func:`latentbook.data.sprites.load` renders.

    The 3 GB of pictures are unpacked piece by piece into 377 MB of bits. The pickled ``metadata`` is not read.

    Args:
        path: dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz.
        md5: of the file; None accepts any file of the same form.

    Raises:
        FileNotFoundError: if there is no file at ``path``.
        ValueError: if the file has another hash, is damaged, or is not of this form.
    """
    return _dsprites(_found(path, "dSprites"), sprites.SIZES, md5)


def cars3d(path: StrPath) -> ByteImages:
    """Cars3D: 183 models of cars, each from 4 elevations and 24 azimuths, in colour.

    Pictures of 128 x 128 pixels are halved by averaging 2 x 2 pixels. Models are numbered in the order of their files'
    names. Both differ a little between libraries (disentanglement_lib shrinks with a Lanczos filter, and takes files in
    the order in which the system lists them).

    Args:
        path: the folder with car_001_mesh.mat and 182 more.

    Raises:
        FileNotFoundError: if there is no folder at ``path``.
        ValueError: if files are missing, damaged, or not of this form.
    """
    return _cars3d(_found(path, "Cars3D"), CARS3D_SIZES)


def faces3d(path: StrPath, *, sha256: str | None = None) -> ByteImages:
    """3D faces: 50 people, 21 azimuths, 11 elevations, 11 directions of light, in grey.

    Args:
        path: a .npy file, or a .npz with one array, that holds bytes (50, 21, 11, 11, 64, 64), or the same number of
            pictures in this order. The file that circulates, basel_face_renders.pth, is a pickle; turn it into this one
            yourself by ``numpy.save("faces3d.npy", torch.load("basel_face_renders.pth", weights_only=True).numpy())``.
        sha256: of the file, if you know it.

    Raises:
        FileNotFoundError: if there is no file at ``path``.
        ValueError: if the file has another hash, is damaged, or is not of this form.
    """
    return _faces3d(_found(path, "3D faces"), FACES3D_SIZES, sha256)


def _found(path: StrPath, name: str) -> Path:
    if not Path(path).exists():
        raise FileNotFoundError(f"path is {str(path)!r}, where nothing is; expected the {name} data")
    return Path(path)


def _check_hash(path: Path, kind: str, expected: str | None) -> None:
    if not path.is_file():
        raise ValueError(f"path is {str(path)!r}, a folder; expected a file")
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != expected.lower():
        raise ValueError(f"{path} has {kind} {found}; expected {expected} ({kind}=None accepts any file of this form)")


def _dsprites(path: Path, sizes: Sequence[int], md5: str | None) -> sprites.Sprites:
    _check_hash(path, "md5", md5)
    factors, count = torch.cartesian_prod(*map(torch.arange, sizes)), math.prod(sizes)
    images = np.empty((count, _SIDE * _SIDE // 8), np.uint8)
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("latents_classes.npy") as file:
                classes = np.lib.format.read_array(file, allow_pickle=False)
            with archive.open("imgs.npy") as file:
                _check_header(file, (count, _SIDE, _SIDE))
                for start in range(0, count, _CHUNK):
                    some = images[start : start + _CHUNK]
                    pixels = np.frombuffer(file.read(len(some) * _SIDE * _SIDE), np.uint8).reshape(len(some), -1)
                    if pixels.max() > 1:
                        raise ValueError(f"imgs holds {pixels.max()}; expected 0 and 1")
                    some[:] = np.packbits(pixels, axis=1)
                file.read(1)  # the end of the file, where zipfile compares checksums
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or no dSprites archive: {error}") from error
    if classes.shape != (count, 6) or not np.array_equal(classes[:, 1:], factors.numpy()):
        raise ValueError(f"latents_classes in {path} are not in the official order; expected pos_y to run fastest")
    return sprites.Sprites(torch.from_numpy(images), factors, tuple(sizes), sprites.FACTORS, "dsprites", (_SIDE, _SIDE))


def _check_header(file: zipfile.ZipExtFile, expected: tuple[int, ...]) -> None:
    """The beginning of a .npy file: bytes, in C order, of that shape."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if shape != expected or dtype != np.uint8 or fortran:
        raise ValueError(f"imgs is {dtype} {shape}; expected uint8 {expected}")


def _cars3d(path: Path, sizes: tuple[int, int, int]) -> ByteImages:
    if not path.is_dir():
        raise ValueError(f"path is {str(path)!r}, a file; expected the folder with car_001_mesh.mat and others")
    elevations, azimuths, models = sizes
    files = sorted(path.glob("*.mat"))
    if len(files) != models:
        raise ValueError(f"{path} holds {len(files)} .mat files; expected {models}, one per model")
    shape = (2 * _SIDE, 2 * _SIDE, 3, azimuths, elevations)
    images = np.empty((elevations, azimuths, models, 3, _SIDE, _SIDE), np.uint8)
    for model, file in enumerate(files):
        try:
            pixels = loadmat(file, variable_names=["im"])["im"]
        except Exception as error:  # scipy raises many kinds
            raise ValueError(f"{file} is damaged or has no array im: {error!r}") from error
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise ValueError(f"im in {file} is {pixels.dtype} {pixels.shape}; expected uint8 {shape}")
        blocks = pixels.transpose(4, 3, 2, 0, 1).reshape(elevations, azimuths, 3, _SIDE, 2, _SIDE, 2)
        images[:, :, model] = (blocks.sum((-3, -1), dtype=np.uint16) + 2) // 4
    return _bytes(images, sizes, CARS3D_FACTORS, "cars3d", (_SIDE, _SIDE, 3))


def _faces3d(path: Path, sizes: Sequence[int], sha256: str | None) -> ByteImages:
    if path.suffix in (".pth", ".pt", ".pkl", ".pickle"):
        raise ValueError(
            f"{path} is a pickle, which may run code when it is read; see the docstring for how to convert it"
        )
    _check_hash(path, "sha256", sha256)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                if len(content.files) != 1:
                    raise ValueError(f"it holds the arrays {content.files}, expected one")
                content = content[content.files[0]]
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or no .npy or .npz file: {error}") from error
    shapes = (*sizes, _SIDE, _SIDE), (math.prod(sizes), _SIDE, _SIDE), (math.prod(sizes), _SIDE * _SIDE)
    if content.shape not in shapes or content.dtype != np.uint8:
        raise ValueError(f"{path} holds {content.dtype} {content.shape}; expected uint8 {shapes[0]}")
    return _bytes(content, sizes, FACES3D_FACTORS, "faces3d", (_SIDE, _SIDE))


def _bytes(images: np.ndarray, sizes: Sequence[int], names: tuple[str, ...], name: str, shape: tuple) -> ByteImages:
    """A data set of every combination of factors, in the order of the leading axes of ``images``."""
    x = torch.from_numpy(np.ascontiguousarray(images).reshape(math.prod(sizes), -1))
    return ByteImages(x, torch.cartesian_prod(*map(torch.arange, sizes)), tuple(sizes), names, name, shape)


__all__ = ["cars3d", "dsprites", "faces3d", "load"]
