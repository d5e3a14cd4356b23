"""How time is cut: slices of five minutes to ten days, and which of them cover a window. Pure, in UTC."""

from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Grain(IntEnum):
    """The length of a slice in seconds."""

    FIVE_MINUTES = 300
    HOUR = 3600
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


def nearest(moment: datetime, grain: Grain) -> datetime:
    """The beginning of a slice that is nearest to ``moment``."""
    return floor(moment + grain.length / 2, grain)


def cover(since: datetime, until: datetime, coarsest: Grain = Grain.TEN_DAYS) -> list[Cut]:
    """The fewest slices, up to the coarsest, that add up to ``since`` to ``until``, both on five minutes: at most
    12 + 24 + 10, and the tens of days.

    From 00:15 to 23:00 is a day less an hour, less three times five minutes.
    """
    return _cover(since, until, tuple(grain for grain in Grain if grain <= coarsest)) if since < until else []


def _cover(since: datetime, until: datetime, grains: tuple[Grain, ...]) -> list[Cut]:
    grain, *coarser = grains
    directly = _cut(grain, since, until)
    if not coarser:
        return directly
    start, end = nearest(since, coarser[0]), nearest(until, coarser[0])
    by_way = [*_cut(grain, since, start), *_cover(start, end, tuple(coarser)), *_cut(grain, end, until)]
    return min(directly, by_way, key=lambda cuts: sum(cut.slices for cut in cuts))


def _cut(grain: Grain, start: datetime, end: datetime) -> list[Cut]:
    if start == end:
        return []
    return [Cut(grain, start, end) if start < end else Cut(grain, end, start, -1)]


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A calendar day of ``zone`` in UTC: its beginning, and that of the next. 23 or 25 hours where clocks change."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
