"""How time is cut: slices of five minutes to ten days, and which of them cover a window. Pure, in UTC."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from itertools import product
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Grain(IntEnum):
    """The length of a slice in seconds."""

    FIVE_MINUTES = 300
    HOUR = 3600
    SIX_HOURS = 21600
    DAY = 86400
    TEN_DAYS = 864000

    @property
    def length(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.value)


class Cut(NamedTuple):
    """Slices of one grain, from the one that begins at ``start`` to before the one that begins at ``end``.

    They are added (``sign`` 1) or taken away (-1).
    """

    grain: Grain
    start: datetime
    end: datetime
    sign: int = 1

    @property
    def slices(self) -> int:
        """How many there are."""
        return (self.end - self.start) // self.grain.length


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def floor(moment: datetime, grain: Grain) -> datetime:
    """The beginning of the slice that ``moment`` lies in."""
    return moment - (moment - _EPOCH) % grain.length


def ceil(moment: datetime, grain: Grain) -> datetime:
    """The beginning of the first slice that begins at ``moment`` or later."""
    return -((-(moment - _EPOCH)) // grain.length) * grain.length + _EPOCH


def cover(since: datetime, until: datetime, grains: Collection[Grain] = tuple(Grain)) -> list[Cut]:
    """The fewest slices of these grains that add up to ``since`` to ``until``, both on five minutes: of all grains at
    most 12 + 6 + 4 + 10, and the tens of days.

    From 00:15 to 23:00 is a day less an hour, less three times five minutes.
    """
    return _cover(since, until, sorted(grains)) if since < until else []


def _cover(since: datetime, until: datetime, grains: Sequence[Grain]) -> list[Cut]:
    grain, *coarser = grains
    directly = _cut(grain, since, until)
    if not coarser:
        return directly
    by_way = [
        [*_cut(grain, since, start), *_cover(start, end, coarser), *_cut(grain, end, until)]
        for start, end in product(_nearest(since, coarser[0]), _nearest(until, coarser[0]))
    ]
    return min([directly, *by_way], key=lambda cuts: sum(cut.slices for cut in cuts))


def _nearest(moment: datetime, grain: Grain) -> list[datetime]:
    """The beginnings of slices that are nearest to ``moment``: two where it lies in the middle."""
    edges = sorted({floor(moment, grain), ceil(moment, grain)})
    return [edge for edge in edges if abs(moment - edge) * 2 <= grain.length]


def _cut(grain: Grain, start: datetime, end: datetime) -> list[Cut]:
    if start == end:
        return []
    return [Cut(grain, start, end) if start < end else Cut(grain, end, start, -1)]


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A calendar day of ``zone`` in UTC: its beginning, and that of the next. 23 or 25 hours where clocks change."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
