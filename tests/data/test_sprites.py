"""dSprites, bit for bit: real pictures, an independent renderer, and the reduced sets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon

from latentbook.data import _raster, sprites
from latentbook.data._raster import Geometry
from latentbook.models import VAE, BernoulliLikelihood
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit


@pytest.fixture(scope="module")
def frames() -> tuple[np.ndarray, np.ndarray]:
    """Real pictures as packed bits, and their factors."""
    with np.load(Path(__file__).with_name("dsprites_frames.npz"), allow_pickle=False) as file:
        return file["images"], file["factors"].astype(np.int64)


@pytest.fixture
def few(frames) -> sprites.Sprites:
    return sprites.packed(*map(torch.from_numpy, frames), "few")


def classes(*, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, sprites.SIZES, size=(count, 5))


# --- the renderer


def test_every_real_picture_is_reproduced_in_every_pixel(frames):
    images, factors = frames
    assert len(np.unique(images, axis=0)) == 254 and set(factors[:, 0]) == {0, 1, 2}
    assert np.array_equal(sprites.render(factors), np.unpackbits(images, axis=1).reshape(-1, 64, 64))


@pytest.mark.parametrize(
    "neighbour",
    [{"unit": 9.598}, {"unit": 9.601}, {"ellipse": 96}, {"heart": 128}, {"heart": 200}, {"grid": 128}, {"grid": 65536}],
)
def test_neighbouring_geometries_miss_some_real_pixels(frames, neighbour):
    images, factors = frames
    assert not np.array_equal(_raster.packed(factors, Geometry(**neighbour)), images)


def test_an_independent_renderer_agrees():
    centres = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2) + 0.5
    centres += (1e-6, -1e-9)  # a centre on a left or lower edge is inside
    for row in classes(count=1000, seed=0):
        across, down = (v[0] / 256 for v in _raster._vertices(row[0], row[None], _raster.DSPRITES))
        inside = Polygon(np.stack([across, down], 1)).contains_points(centres).reshape(64, 64)
        assert np.array_equal(sprites.render(row), inside), row


@pytest.mark.parametrize("shift", [0, 128])  # corners on the corners of pixels, and on their centres
def test_a_centre_on_an_edge_belongs_to_the_left_and_lower_one(shift):
    x, y = np.array([[2, 6, 6, 2]]) * 256 + shift, np.array([[2, 2, 5, 5]]) * 256 + shift
    words = _raster._scan(x, y, 256)[0]
    image = np.unpackbits(words.astype(">u8").view(np.uint8)).reshape(64, 64)
    rows, columns = np.nonzero(image)
    assert image.sum() == 12 and (columns.min(), columns.max()) == (2, 5)
    assert (rows.min(), rows.max()) == ((3, 5) if shift else (2, 4))


def test_rounding_of_vertices_never_hangs_on_the_last_bit():
    for shape in range(3):
        factors = np.array([[shape, s, o, p, p] for s in range(6) for o in range(40) for p in range(32)])
        exact = np.concatenate(_raster._vertices(shape, factors, Geometry(grid=256 * 10**9))) / 10**9
        assert np.abs(exact % 1 - 0.5).min() > 1e-8  # against rounding errors of 1e-12


def test_factors_do_what_their_names_say():
    base = np.array([2, 3, 0, 8, 20])
    heart = sprites.render(base)
    assert np.array_equal(sprites.render(np.array([2, 3, 39, 8, 20])), heart)  # a full turn
    pixel = np.arange(64) + 0.5
    for column, axis in ((3, 0), (4, 1)):
        moved = base.copy()
        moved[column] = 31
        centres = [(image.sum(axis) * pixel).sum() / image.sum() for image in (heart, sprites.render(moved))]
        assert abs(centres[1] - centres[0] - 32 * (31 - base[column]) / 31) < 0.25
    areas = [sprites.render(np.array([2, s, 0, 8, 20])).sum() for s in range(6)]
    scales = 0.5 + 0.1 * np.arange(6)
    assert np.allclose(areas / scales**2, areas[-1], rtol=0.06)
    tip = heart.nonzero()
    assert heart[tip[0].max()].sum() < 4 < heart[tip[0].min()].sum()  # the tip is below


def test_tensors_give_tensors_and_leading_axes_stay():
    factors = torch.from_numpy(classes(count=6, seed=1)).reshape(2, 3, 5)
    images = sprites.render(factors)
    assert images.dtype == torch.uint8 and images.shape == (2, 3, 64, 64)
    assert np.array_equal(images.numpy(), sprites.render(factors.numpy()))
    assert sprites.render(np.zeros((0, 5), int)).shape == (0, 64, 64)


@pytest.mark.parametrize(
    ("factors", "error", "words"),
    [
        (np.zeros((2, 5)), TypeError, "factors has dtype float64; expected integers"),
        (torch.zeros(2, 5), TypeError, "factors has dtype float32"),
        (np.zeros((2, 6), int), ValueError, r"factors has shape \(2, 6\); expected \(..., 5\): shape, scale"),
        (
            np.array([[0, 0, 0, 0, 0], [0, 6, 0, 0, 0]]),
            ValueError,
            r"factors\[..., 1\], scale, holds 6; expected 0 to 5",
        ),
        (torch.tensor([0, 0, 40, 0, 0]), ValueError, r"factors\[..., 2\], orientation, holds 40; expected 0 to 39"),
        (np.array([0, 0, 0, 0, -1]), ValueError, r"pos_y, holds -1; expected 0 to 31"),
    ],
)
def test_bad_factors_are_refused_by_name(factors, error, words):
    with pytest.raises(error, match=words):
        sprites.render(factors)


# --- packed data sets


def test_a_batch_is_unpacked(few):
    index = torch.tensor([[3, 1, 1], [0, 253, 2]])
    batch = few.batch(index)
    assert batch.shape == (2, 3, 4096) and batch.dtype == torch.float32
    assert torch.equal(few.pictures(batch), sprites.render(few.factors[index]).float())
    assert few.features == 4096 and few.images is few.x and few.batch(torch.tensor(7)).shape == (4096,)
    assert "few: 254 rows, 4096 features, factors: shape, scale, orientation, pos_x, pos_y" in repr(few)


def test_a_packed_set_splits_and_moves(few):
    train, test = few.split(0.75, seed=0)
    assert isinstance(train, sprites.Sprites) and len(train) + len(test) == 254
    for part in (train, test):
        everything = torch.arange(len(part))
        assert torch.equal(part.pictures(part.batch(everything)), sprites.render(part.factors).float())
    assert few.to("cpu") is few


@pytest.mark.gpu
def test_a_packed_set_unpacks_on_cuda(few):
    moved, index = few.to("cuda"), torch.tensor([[5, 4]])
    assert torch.equal(moved.batch(index.cuda()).cpu(), few.batch(index))


def test_packed_and_reduced_sets_train_a_vae(few):
    for data in (few, sprites.squares()):
        model = VAE.mlp(data.features, 2, likelihood=BernoulliLikelihood(), hidden=(8,), generator=Generator((0, 1)))
        config = TrainConfig(seeds=(0, 1), steps=3, batch_size=8)
        fit(model, ELBO(), data, config, progress=False)
        assert model.codes(data.batch(torch.arange(5))).isfinite().all()


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (torch.zeros(2, 512), TypeError, "x is torch.float32; expected a uint8 tensor"),
        ([1], TypeError, "x is list"),
        (torch.zeros(2, 4096, dtype=torch.uint8), ValueError, r"x has shape \(2, 4096\); expected \(n, 512\)"),
        (torch.zeros(0, 512, dtype=torch.uint8), ValueError, "at least one row"),
    ],
)
def test_bad_bits_are_refused_by_name(x, error, words):
    with pytest.raises(error, match=words):
        sprites.Sprites(x, image_shape=(64, 64))


# --- the whole grid, and its place on disk


@pytest.fixture
def small(monkeypatch):
    """A grid of 12 pictures instead of 737,280."""
    sizes = (3, 1, 1, 2, 2)
    bits = _raster.packed(torch.cartesian_prod(*map(torch.arange, sizes)).numpy())
    monkeypatch.setattr(sprites, "SIZES", sizes)
    monkeypatch.setattr(sprites, "SHA256", hashlib.sha256(bits).hexdigest())
    monkeypatch.setattr(sprites, "_CHUNK", 5)
    return torch.from_numpy(bits)


def test_the_grid_is_kept_on_disk(small, tmp_path, monkeypatch):
    first = sprites.load(tmp_path, progress=False)
    assert torch.equal(first.images, small) and first.factors[:, 4].tolist() == [0, 1] * 6
    assert [file.name for file in tmp_path.iterdir()] == ["sprites.npy"]
    monkeypatch.setattr(_raster, "packed", None)  # from here on nothing can be rendered
    monkeypatch.setenv("LATENTBOOK_CACHE", str(tmp_path))
    assert torch.equal(sprites.load(progress=False).images, small)
    monkeypatch.delenv("LATENTBOOK_CACHE")
    (tmp_path / "latentbook").mkdir()
    (tmp_path / "sprites.npy").rename(tmp_path / "latentbook" / "sprites.npy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert torch.equal(sprites.load(progress=False).images, small)


@pytest.mark.parametrize("damage", ["a bit", "the header", "the end", "everything", "a pickle"])
def test_a_damaged_file_is_made_again(small, tmp_path, damage):
    sprites.load(tmp_path, progress=False)
    path = tmp_path / "sprites.npy"
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        content[-7] ^= 1
    if damage == "the header":
        content[content.index(b"}")] = ord("(")  # a bracket that never closes
    path.write_bytes({"the end": content[:-1], "everything": b""}.get(damage, content))
    if damage == "a pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.warns(RuntimeWarning, match=r"sprites.npy is damaged \(.*making it again"):
        assert torch.equal(sprites.load(tmp_path, progress=False).images, small)
    assert torch.equal(sprites.load(tmp_path, progress=False).images, small)


def test_a_folder_that_cannot_be_written_is_done_without(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="could not be written"):
        assert torch.equal(sprites.load(tmp_path / "file", progress=False).images, small)


def test_nothing_half_written_is_left(small, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        sprites.load(tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_renders_other_bits_is_told(small, tmp_path, monkeypatch):
    monkeypatch.setattr(sprites, "SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="sprites.npy was made with sha256"):
        sprites.load(tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_whole_grid(tmp_path, frames):
    data = sprites.load(tmp_path, progress=False)
    assert data.images.shape == (737280, 512) and data.factors.shape == (737280, 5)
    images, factors = frames
    where = np.ravel_multi_index(factors.T, sprites.SIZES)
    assert np.array_equal(data.images[where].numpy(), images)
    assert torch.equal(data.factors[where], torch.from_numpy(factors))
    some = torch.from_numpy(np.random.default_rng(0).integers(0, len(data), 2000))
    assert torch.equal(data.pictures(data.batch(some)), sprites.render(data.factors[some]).float())
    assert len({hash(row.tobytes()) for row in data.images.numpy()}) == 715_706


# --- reduced sets


@pytest.mark.parametrize(
    ("make", "rows", "distinct", "pixels", "ones", "factors"),
    [
        (sprites.hearts, 1536, 1536, 599, 0.034, {"scale": 6, "pos_x": 16, "pos_y": 16}),
        (sprites.ellipses, 15360, 15347, 783, 0.045, {"scale": 6, "orientation": 10, "pos_x": 16, "pos_y": 16}),
        (sprites.squares, 256, 256, 675, 0.099, {"pos_x": 16, "pos_y": 16}),
        (lambda: sprites.squares(3), 256, 256, 575, 0.064, {"pos_x": 16, "pos_y": 16}),
    ],
)
def test_reduced_sets_are_those_of_the_recipes(make, rows, distinct, pixels, ones, factors):
    data = make()
    assert data.x.shape == (rows, pixels) and int(data.live.sum()) == pixels
    assert len({row.tobytes() for row in data.x.byte().numpy()}) == distinct
    assert round(float(data.images.mean()), 3) == ones and data.images.shape == (rows, 32, 32)
    assert data.x.any(0).all() and dict(zip(data.factor_names, data.factor_sizes, strict=True)) == factors
    assert torch.equal(data.factors, torch.cartesian_prod(*map(torch.arange, data.factor_sizes)))


def test_a_reduced_picture_is_the_full_one_halved():
    data = sprites.ellipses()
    for row in (0, 4321, 15359):
        scale, turn, x, y = data.factors[row].tolist()
        full = sprites.render(np.array([1, scale, 2 * turn, 2 * x, 2 * y]))
        blocks = full[::2, ::2] + full[1::2, ::2] + full[::2, 1::2] + full[1::2, 1::2]
        assert np.array_equal(data.images[row].numpy(), blocks >= 2)


def test_rows_of_a_model_go_back_into_their_frame():
    data = sprites.hearts()
    rows = torch.rand(2, 3, data.features, requires_grad=True)
    pictures = data.pictures(rows)
    assert pictures.shape == (2, 3, 32, 32)
    assert torch.equal(pictures[..., data.live], rows) and not pictures[..., ~data.live].any()
    pictures.sum().backward()
    assert torch.equal(rows.grad, torch.ones_like(rows))
    part = data.split(0.5, 0)[0]
    assert isinstance(part, sprites.LiveSprites) and part.images.shape == (768, 32, 32)
    with pytest.raises(ValueError, match=r"rows has shape \(2, 3\); expected \(..., 599\)"):
        data.pictures(torch.zeros(2, 3))


@pytest.mark.parametrize("live", [None, torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(live):
    with pytest.raises(ValueError, match=r"expected a mask \(2, 3\) with 4 True"):
        sprites.LiveSprites(torch.ones(1, 4), image_shape=(2, 3), live=live)


def test_a_scale_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="scale, holds 6"):
        sprites.squares(6)
