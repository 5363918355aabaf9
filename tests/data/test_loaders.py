"""Readers of official files: small files of the same form, and all that can be wrong with one."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from latentbook.data import ByteImages, loaders, sprites
from latentbook.data.loaders import _cars3d, _dsprites, _faces3d

random = np.random.default_rng(0)

# --- dSprites

SIZES = (3, 2, 2, 4, 5)


def dsprites_arrays(sizes=SIZES) -> dict[str, np.ndarray]:
    """The arrays of the official archive on a smaller grid, the pickled one among them."""
    factors = np.indices(sizes).reshape(5, -1).T
    return {
        "metadata": np.array({"date": "April 2017"}, dtype=object),
        "imgs": sprites.render(factors),
        "latents_classes": np.concatenate([np.zeros_like(factors[:, :1]), factors], 1),
        "latents_values": np.zeros((len(factors), 6)),
        "latents_bases": np.zeros(6, np.int64),
    }


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "dsprites.npz"
    np.savez_compressed(path, **dsprites_arrays())
    return path


def test_dsprites_are_packed_and_labelled(archive):
    data = _dsprites(archive, SIZES, None)
    assert isinstance(data, sprites.Sprites) and data.factor_sizes == SIZES and data.factor_names == sprites.FACTORS
    assert data.images.shape == (240, 512) and data.factors[7].tolist() == [0, 0, 0, 1, 2]
    assert torch.equal(data.pictures(data.batch(torch.arange(240))), sprites.render(data.factors).float())


def test_dsprites_are_read_in_pieces(archive, monkeypatch):
    whole = _dsprites(archive, SIZES, None)
    monkeypatch.setattr(loaders, "_CHUNK", 7)
    assert torch.equal(_dsprites(archive, SIZES, None).images, whole.images)


def test_dsprites_are_checked_against_a_hash(archive):
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    assert len(_dsprites(archive, SIZES, md5.upper())) == 240
    with pytest.raises(ValueError, match=f"has md5 {md5}; expected 7da33b31b13a06f4b04a70402ce90c2e"):
        loaders.dsprites(archive)


def test_a_small_archive_is_not_taken_for_the_official_one(archive):
    with pytest.raises(ValueError, match=r"imgs is uint8 \(240, 64, 64\); expected uint8 \(737280, 64, 64\)"):
        loaders.load("dsprites", archive, md5=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imgs": None}, "no item named 'imgs.npy'"),
        ({"latents_classes": None}, "no item named 'latents_classes.npy'"),
        ({"imgs": lambda a: a.astype(float)}, r"imgs is float64 \(240, 64, 64\)"),
        ({"imgs": np.asfortranarray}, "imgs is uint8"),
        ({"imgs": lambda a: 255 * a}, "imgs holds 255; expected 0 and 1"),
        ({"imgs": lambda a: a.astype(object)}, r"imgs is object"),
        ({"latents_classes": lambda a: a[::-1]}, "not in the official order"),
        ({"latents_classes": lambda a: a[:, 1:]}, "not in the official order"),
        ({"latents_classes": lambda a: a.astype(object)}, "Object arrays cannot be loaded"),
    ],
)
def test_another_archive_is_refused(tmp_path, changes, words):
    arrays = dsprites_arrays()
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name])
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        _dsprites(tmp_path / "other.npz", SIZES, None)


@pytest.mark.parametrize("damage", ["the end", "a bit", "everything", "another kind"])
def test_a_damaged_archive_is_refused(archive, damage):
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    changed = {
        "the end": archive.read_bytes()[:-200],
        "a bit": content,
        "everything": b"",
        "another kind": b"\x80\x04.",
    }
    archive.write_bytes(changed[damage])
    with pytest.raises(ValueError, match=r"dsprites.npz is damaged or no dSprites archive"):
        _dsprites(archive, SIZES, None)


@pytest.mark.slow
def test_a_whole_archive(tmp_path):
    path = tmp_path / "whole.npz"
    factors = np.indices(sprites.SIZES).reshape(5, -1).T
    images = np.broadcast_to(np.eye(64, dtype=np.uint8), (737280, 64, 64))
    classes = np.concatenate([np.zeros_like(factors[:, :1]), factors], 1)
    np.savez_compressed(path, imgs=images, latents_classes=classes)
    data = loaders.dsprites(path, md5=None)
    assert data.images.shape == (737280, 512) and torch.equal(data.factors, torch.from_numpy(factors))
    assert torch.equal(data.pictures(data.batch(torch.tensor(700_000))), torch.eye(64))


# --- Cars3D

MODELS = (4, 24, 3)


def car(model: int, shape=(128, 128, 3, 24, 4)) -> dict[str, np.ndarray]:
    """A file's content: the brightness tells model, azimuth and elevation, the left half is darker by 2."""
    im = np.zeros(shape, np.uint8)
    im += (60 * model + 2 * np.arange(shape[3])[:, None] + 50 * (np.arange(shape[4]) == 1)).astype(np.uint8)
    im[:, : shape[1] // 2] += 2
    im[:, :, 2] += 1
    return {"im": im, "mask": np.zeros((2, 2), np.uint8)}


@pytest.fixture(scope="module")
def garage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cars")
    for model in range(3):
        savemat(folder / f"car_{model:03}_mesh.mat", car(model), do_compression=True)
    (folder / "list.txt").write_text("car_000_mesh\n")
    return folder


def test_cars_are_halved_and_labelled(garage):
    data = _cars3d(garage, MODELS)
    assert isinstance(data, ByteImages) and len(data) == 4 * 24 * 3 and data.features == 3 * 64 * 64
    assert data.factor_names == ("elevation", "azimuth", "model") and data.image_shape == (64, 64, 3)
    elevation, azimuth, model = data.factors.T
    rows = data.x.reshape(-1, 3, 64, 64)
    assert torch.equal(rows[:, 0, 5, 60].long(), 60 * model + 2 * azimuth + 50 * (elevation == 1))
    assert torch.equal(rows[:, 0, 5, 3], rows[:, 0, 5, 60] + 2) and torch.equal(rows[:, 2], rows[:, 1] + 1)
    batch = data.batch(torch.tensor([[9, 80]]))
    assert batch.shape == (1, 2, 12288) and torch.allclose(batch * 255, data.x[[9, 80]].float()[None])
    assert data.images.shape == (288, 64, 64, 3) and torch.equal(data.images[..., 1], rows[:, 1])
    assert data.pictures(batch).shape == (1, 2, 64, 64, 3)


def test_halving_is_the_mean_of_four_pixels(garage, tmp_path):
    content = car(0)
    content["im"][...] = random.integers(0, 256, content["im"].shape)
    savemat(tmp_path / "car_000_mesh.mat", content)
    data = _cars3d(tmp_path, (4, 24, 1))
    exact = content["im"].astype(float).reshape(64, 2, 64, 2, 3, 24, 4).mean((1, 3))
    found = data.images.reshape(4, 24, 64, 64, 3).permute(2, 3, 4, 1, 0).numpy()
    assert np.abs(found - exact).max() <= 0.5


def test_a_wrong_garage_is_refused(garage, tmp_path):
    with pytest.raises(ValueError, match="holds 3 .mat files; expected 183"):
        loaders.cars3d(garage)
    with pytest.raises(ValueError, match=r"list.txt', a file; expected the folder"):
        loaders.load("cars3d", garage / "list.txt")
    path = tmp_path / "car_000_mesh.mat"
    whole = (garage / path.name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="car_000_mesh.mat is damaged or has no array im"):
            _cars3d(tmp_path, (4, 24, 1))
    savemat(path, {"mask": np.zeros(3)})
    with pytest.raises(ValueError, match="has no array im"):
        _cars3d(tmp_path, (4, 24, 1))
    savemat(path, car(0, (128, 128, 3, 4, 24)))
    with pytest.raises(ValueError, match=r"is uint8 \(128, 128, 3, 4, 24\); expected uint8 \(128, 128, 3, 24, 4\)"):
        _cars3d(tmp_path, (4, 24, 1))


# --- faces

PEOPLE = (2, 3, 2, 2)


@pytest.mark.parametrize("shape", [(*PEOPLE, 64, 64), (24, 64, 64), (24, 4096)])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_faces_are_read_from_either_form(tmp_path, shape, ending):
    images, path = random.integers(0, 256, shape, dtype=np.uint8), tmp_path / f"faces{ending}"
    np.save(path, images) if ending == ".npy" else np.savez_compressed(path, images)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    data = _faces3d(path, PEOPLE, sha256)
    assert data.factor_names == ("identity", "azimuth", "elevation", "lighting") and data.factor_sizes == PEOPLE
    assert np.array_equal(data.images.numpy(), images.reshape(24, 64, 64))
    assert torch.allclose(data.batch(torch.tensor(5)), torch.from_numpy(images.reshape(24, -1)[5]) / 255)
    assert data.factors[13].tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match=f"has sha256 {sha256}; expected 00"):
        _faces3d(path, PEOPLE, "00")


def test_wrong_faces_are_refused(tmp_path):
    path = tmp_path / "faces.npy"
    np.save(path, np.zeros((*PEOPLE, 64, 64), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 \(2, 3, 2, 2, 64, 64\); expected uint8 \(50, 21, 11, 11, 64, 64\)"):
        loaders.faces3d(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"faces.npy is damaged or no .npy"):
        _faces3d(path, PEOPLE, None)
    np.save(path, np.zeros((*PEOPLE, 64, 64)))
    with pytest.raises(ValueError, match="holds float64"):
        _faces3d(path, PEOPLE, None)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        _faces3d(path, PEOPLE, None)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        _faces3d(path, PEOPLE, None)
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(ValueError, match=r"it holds the arrays \['a', 'b'\], expected one"):
        _faces3d(tmp_path / "two.npz", PEOPLE, None)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "basel_face_renders.pth"
    torch.save(torch.zeros(2), path)
    with pytest.raises(ValueError, match="is a pickle"):
        loaders.faces3d(path)
    path.rename(tmp_path / "renamed.npy")
    with pytest.raises(ValueError, match="damaged|expected"):
        loaders.faces3d(tmp_path / "renamed.npy")


# --- all of them


@pytest.mark.parametrize("name", ["dsprites", "cars3d", "faces3d"])
def test_nothing_there(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"path is '.*nowhere', where nothing is; expected the"):
        loaders.load(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["dsprites", "faces3d"])
def test_a_folder_is_no_file(tmp_path, name):
    with pytest.raises(ValueError, match="a folder; expected a file"):
        loaders.load(name, tmp_path)


def test_an_unknown_name():
    with pytest.raises(ValueError, match="name is 'shapes'; expected one of 'dsprites', 'cars3d', 'faces3d'"):
        loaders.load("shapes", "anywhere")


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (torch.zeros(2, 4), TypeError, "x is torch.float32; expected a uint8 tensor"),
        (torch.zeros(4, dtype=torch.uint8), ValueError, r"x has shape \(4,\)"),
        (torch.zeros(2, 6, dtype=torch.uint8), ValueError, r"image_shape is \(2, 2\); expected 6 pixels"),
    ],
)
def test_bad_bytes_are_refused_by_name(x, error, words):
    with pytest.raises(error, match=words):
        ByteImages(x, image_shape=(2, 2))
