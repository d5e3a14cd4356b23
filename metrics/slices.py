"""How time is cut: slices of five minutes, an hour and a day, and which of them cover a window. Pure, in UTC."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Grain(IntEnum):
    """The length of a slice in seconds."""

    FIVE_MINUTES = 300
    HOUR = 3600
    DAY = 86400

    @property
    def length(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.value)


class Cut(NamedTuple):
    """Slices of one grain, from the one that begins at ``start`` to before the one that begins at ``end``."""

    grain: Grain
    start: datetime
    end: datetime


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def floor(moment: datetime, grain: Grain) -> datetime:
    """The beginning of the slice that ``moment`` lies in."""
    return moment - (moment - _EPOCH) % grain.length


def ceil(moment: datetime, grain: Grain) -> datetime:
    """The beginning of the first slice that begins at ``moment`` or later."""
    return -((-(moment - _EPOCH)) // grain.length) * grain.length + _EPOCH


def cover(since: datetime, until: datetime) -> Iterator[Cut]:
    """The fewest slices that make up ``since`` to ``until``, both on five minutes: at most 22 + 46 and the days."""
    yield from _cover(since, until, (Grain.DAY, Grain.HOUR, Grain.FIVE_MINUTES))


def _cover(since: datetime, until: datetime, grains: tuple[Grain, ...]) -> Iterator[Cut]:
    if since >= until:
        return
    grain, *finer = grains
    start, end = ceil(since, grain), floor(until, grain)
    if start >= end:
        yield from _cover(since, until, tuple(finer))
        return
    yield from _cover(since, start, tuple(finer)) if finer else ()
    yield Cut(grain, start, end)
    yield from _cover(end, until, tuple(finer)) if finer else ()


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A calendar day of ``zone`` in UTC: its beginning, and that of the next. 23 or 25 hours where clocks change."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
