"""One arm's sums of all clusters of people, side by side: as they are stored, merged and read.

A decision looks at one number of every cluster at a time, so that is how they lie: a list for each number, and for
each bin of a histogram one. Pure: knows ``sums``; no Django, no clock and no storage.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Self, TypeVar

from metrics.sums import CLUSTERS, ClusterSums

Key = TypeVar("Key")
BinsName = Literal["ttft_bins", "latency_bins"]
BINS: tuple[BinsName, ...] = ("ttft_bins", "latency_bins")
NUMBERS = tuple(part.name for part in fields(ClusterSums) if part.name not in BINS)

_FIRST = struct.Struct("<i")
_ROW = struct.Struct(f"<{CLUSTERS}i")
_TOGETHER = struct.Struct(f"<{CLUSTERS}I")

# One whole number for each cluster, by its place.
Row = Sequence[int]
_NOTHING: Row = (0,) * CLUSTERS
# By name; each has a row for every bin.
Histograms = dict[BinsName, Mapping[int, Row]]


@dataclass(kw_only=True)
class ArmSums:
    """``ClusterSums`` of the 128 clusters: ``numbers`` by name, and by name the histograms, each a row for every bin.

    What is not there is 0. Rows are replaced and never changed, so that they can be shared.
    """

    numbers: dict[str, Row] = field(default_factory=dict)
    bins: Histograms = field(default_factory=dict)

    @classmethod
    def of(cls, clusters: Mapping[int, ClusterSums]) -> Self:
        """Put clusters side by side."""
        numbers: dict[str, list[int]] = {}
        bins: dict[BinsName, dict[int, list[int]]] = {name: {} for name in BINS}
        for cluster, sums in clusters.items():
            for name in NUMBERS:
                if number := getattr(sums, name):
                    numbers.setdefault(name, [*_NOTHING])[cluster] = number
            for histogram in BINS:
                for number, count in getattr(sums, histogram).items():
                    bins[histogram].setdefault(int(number), [*_NOTHING])[cluster] = count
        return cls(numbers={**numbers}, bins={name: {**rows} for name, rows in bins.items()})

    def each(self, name: str) -> Row:
        """A number of every cluster."""
        return self.numbers.get(name, _NOTHING)

    def total(self, name: str) -> int:
        """A number of all clusters together."""
        return sum(self.each(name))

    def merge(self, other: Self, sign: int = 1) -> None:
        """Add another's sums, or take them away (``sign=-1``)."""
        _merge(self.numbers, other.numbers, sign)
        for name, rows in other.bins.items():
            self.bins[name] = mine = {**self.bins.get(name, {})}
            _merge(mine, rows, sign)

    def to_json(self) -> dict[str, Row]:
        """The numbers without the histograms, those that are 0 everywhere left out, in one order."""
        return {name: self.numbers[name] for name in sorted(self.numbers) if any(self.numbers[name])}


def pack(bins: Mapping[int, Row]) -> bytes:
    """A histogram as 32-bit whole numbers, lowest byte first: the first bin that holds anything, then bin after bin to
    the last that does, each with its clusters' counts. Nothing where no bin holds anything.

    Raises ``struct.error`` for a count of two thousand million in one bin of one cluster.
    """
    filled = [number for number, row in bins.items() if any(row)]
    if not filled:
        return b""
    span = range(min(filled), max(filled) + 1)
    counts = [count for number in span for count in bins.get(number, _NOTHING)]
    return struct.pack(f"<{1 + len(counts)}i", span.start, *counts)


class Packed(Mapping[int, Row]):
    """A histogram as ``pack`` gives it; a bin's row is unpacked when it is looked at."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._first = _FIRST.unpack_from(packed)[0] if packed else 0

    def __getitem__(self, number: int) -> Row:
        """A bin's counts. Raises KeyError for one beyond the first and the last."""
        if not 0 <= number - self._first < len(self):
            raise KeyError(number)
        return _ROW.unpack_from(self._packed, _FIRST.size + (number - self._first) * _ROW.size)

    def total_beyond(self, number: int) -> Row:
        """What the bins after that one hold together.

        Rows are added as whole numbers of 128 times 32 bits: counts are never below 0, and nothing is carried from one
        to the next before they add up to 2³².
        """
        start = _FIRST.size + max(0, number + 1 - self._first) * _ROW.size
        ends = range(start + _ROW.size, len(self._packed) + 1, _ROW.size)
        together = sum([int.from_bytes(self._packed[end - _ROW.size : end], "little") for end in ends])
        return _TOGETHER.unpack(together.to_bytes(_TOGETHER.size, "little"))

    def __iter__(self) -> Iterator[int]:
        """Lowest bin first."""
        return iter(range(self._first, self._first + len(self)))

    def __len__(self) -> int:
        """How many bins lie from the first to the last that holds anything."""
        return max(0, len(self._packed) - _FIRST.size) // _ROW.size


def total_beyond(bins: Mapping[int, Row], number: int) -> Row:
    """What the bins after that one hold together, in each cluster; of a packed histogram at a third of the price."""
    if isinstance(bins, Packed):
        return bins.total_beyond(number)
    return [*map(sum, zip(_NOTHING, *(row for place, row in bins.items() if place > number), strict=True))]


def _merge(mine: dict[Key, Row], theirs: Mapping[Key, Row], sign: int) -> None:
    for key, row in theirs.items():
        mine[key] = [a + sign * b for a, b in zip(mine.get(key, _NOTHING), row, strict=True)]
