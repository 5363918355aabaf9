"""Random numbers for a stack of members: one independent stream a seed, fixed by (seed, step) alone.

A model in this book is a stack of ``K`` members, and a claim about a member must not depend on its neighbours. So
noise is not taken from one shared stream but *computed*: the number at position ``i`` of step ``t`` of seed ``s`` is
a hash of ``(s, t, i)``. It follows that

* member ``k`` sees the same noise in a stack of a hundred as it does alone,
* two members with the same seed see the same noise (a paired comparison, say over ``beta``),
* a resumed run needs no saved generator state: the step is the state,
* a CPU and a GPU do the same integer arithmetic, and differ by rounding in the logarithm and the cosine alone.

The hash is the SplitMix64 generator: G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number
generators*, OOPSLA 2014. Nothing here touches torch's global random state.
"""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_LOW32 = 0xFFFFFFFF
_COMPUTED_IN = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of 64-bit words held in int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The SplitMix64 finaliser: a bijection of 64-bit words in which every input bit moves every output bit."""
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _floating(dtype: torch.dtype | None) -> tuple[torch.dtype, torch.dtype]:
    """The type of the result, by default torch's own default, and the type to compute it in."""
    dtype = dtype or torch.get_default_dtype()
    if dtype not in _COMPUTED_IN:
        raise TypeError(f"dtype is {dtype}; expected float16, bfloat16, float32 or float64")
    return dtype, _COMPUTED_IN[dtype]


def as_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """One seed or several as a tuple of non-negative integers below 2**63.

    Raises:
        ValueError: if there is no seed, or one is not such an integer.
    """
    seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)
    if not seeds:
        raise ValueError("seeds is empty; expected at least one integer, one per member")
    for seed in seeds:
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < 2**63:
            raise ValueError(f"seeds contains {seed!r}; expected integers from 0 to 2**63 - 1")
    return tuple(int(seed) for seed in seeds)


class Generator:
    """Random numbers with a leading members axis.

    Args:
        seeds: one integer per member.
        device: where the numbers are made.
        stream: a name; generators of the same seeds and different streams are independent.

    Example:
        >>> Generator([3, 4]).normal(2).shape
        torch.Size([2, 2])
        >>> bool((Generator([3, 4]).normal(5)[1] == Generator([4]).normal(5)[0]).all())
        True
    """

    def __init__(self, seeds: int | Iterable[int], *, device: torch.device | str = "cpu", stream: str = "") -> None:
        self.seeds = as_seeds(seeds)
        self.device = torch.device(device)
        self.stream = stream
        keys = torch.tensor(self.seeds, dtype=torch.int64, device=self.device)
        self._member_keys = _mix(_mix(keys + _GOLDEN) ^ zlib.crc32(stream.encode()))
        self._rewind(0)

    def _rewind(self, step: int | Tensor, offset: int = 0) -> None:
        self.step = step if isinstance(step, Tensor) else int(step)
        self._position = [int(offset)]  # a list, since to() shares it
        self._keys = _mix(self._member_keys + (self.step * _GOLDEN & (2**63 - 1)))[:, None]

    def __repr__(self) -> str:
        return f"Generator(seeds={self.seeds}, stream={self.stream!r}, step={self.step}, device='{self.device}')"

    @property
    def members(self) -> int:
        """Number of members K."""
        return len(self.seeds)

    def at(self, step: int | Tensor) -> Generator:
        """A copy at the beginning of ``step``; this generator stays where it is.

        The step may be an int64 tensor (), which a compiled graph is told anew each time it runs.
        """
        other = copy.copy(self)
        other._rewind(step)
        return other

    def to(self, device: torch.device | str) -> Generator:
        """The same numbers on ``device``: itself where it is there already.

        Both share one position: what one has drawn, the other does not draw again.
        """
        keys = self._member_keys.to(device)
        if keys is self._member_keys:
            return self
        other = copy.copy(self)
        other.device, other._member_keys, other._keys = keys.device, keys, self._keys.to(device)
        return other

    def child(self, stream: str, *, device: torch.device | str | None = None) -> Generator:
        """An independent generator of the same seeds, named ``stream`` (nested under this one's name)."""
        name = f"{self.stream}/{stream}" if self.stream else stream
        return Generator(self.seeds, device=self.device if device is None else device, stream=name)

    def state_dict(self) -> dict[str, object]:
        """Seeds, stream and position: all there is to save."""
        return {"seeds": list(self.seeds), "stream": self.stream, "step": self.step, "offset": self._position[0]}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue exactly where ``state`` was taken."""
        self.__init__(state["seeds"], device=self.device, stream=state["stream"])
        self._rewind(state["step"], state["offset"])

    def _words(self, count: int) -> Tensor:
        """The next ``count`` 64-bit words of every member, int64 (members, count)."""
        start = self._position[0]
        self._position[0] += count
        offset = ((start + 1) * _GOLDEN + 2**63) % 2**64 - 2**63  # apart from arange: compilers fold it, and overflow
        return _mix(self._keys + offset + torch.arange(count, device=self.device) * _GOLDEN)

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Standard normal numbers, ``(members, *shape)``, by the Box-Muller transform.

        Args:
            shape: of one member's numbers.
            dtype: float16, bfloat16, float32 or float64; by default torch's default. Half precision is rounded from
                float32.

        Raises:
            TypeError: if ``dtype`` is none of these.
        """
        dtype, inner = _floating(dtype)
        count = math.prod(shape)
        words = self._words((count + 1) // 2)
        first = ((words >> 32) & _LOW32).to(inner).add_(0.5).mul_(2.0**-32)
        angle = (words & _LOW32).to(inner).mul_(2.0**-31 * math.pi)
        radius = first.log_().mul_(-2.0).sqrt_()
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].reshape(self.members, *shape).to(dtype)

    def uniform(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Uniform numbers in the open interval (0, 1), ``(members, *shape)``; ``dtype`` as in :meth:`normal`."""
        dtype, inner = _floating(dtype)
        bits = 52 if inner == torch.float64 else 23
        words = _shift(self._words(math.prod(shape)), 64 - bits)
        numbers = words.to(inner).add_(0.5).mul_(2.0**-bits).reshape(self.members, *shape)
        return numbers if inner == dtype else numbers.to(dtype).clamp_(max=1 - torch.finfo(dtype).eps / 2)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers 0 .. high - 1, int64 ``(members, *shape)``.

        Raises:
            ValueError: if ``high`` is not between 1 and 2**31.
        """
        if not 1 <= high <= 2**31:
            raise ValueError(f"high is {high}; expected an integer from 1 to 2**31")
        words = (self._words(math.prod(shape)) >> 32) & _LOW32
        return ((words * high) >> 32).reshape(self.members, *shape)

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 .. n - 1 for every member, int64 (members, n)."""
        return self._words(n).argsort(dim=1)


def check_members(generator: Generator, members: int | None = None) -> None:
    """Raise unless ``generator`` is a Generator with one stream for each of ``members``, where these are given.

    Raises:
        TypeError: if it is something else.
        ValueError: if it has another number of streams.
    """
    if not isinstance(generator, Generator):
        raise TypeError(f"generator is a {type(generator).__name__}; expected a latentbook.random.Generator")
    if members is not None and generator.members != members:
        raise ValueError(f"generator has {generator.members} seeds; expected {members}, one per member of the model")


__all__: Sequence[str] = ["Generator", "as_seeds", "check_members"]
