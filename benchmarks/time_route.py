"""Times the pure part of a route: ``python -m benchmarks.time_route`` prints µs for each, the best of seven."""

import timeit
from decimal import Decimal

from rollout.bucketing import bucket, in_candidate
from rollout.layers import Layer, assign

LOOPS = 20_000


def main() -> None:
    """Print the figures."""
    one = [Layer(rollout="gemini-flash-lite", salt="0123456789abcdef", percent=Decimal(5), everyone=None, priority=100)]
    three = [
        *one,
        Layer(rollout="second", salt="fedcba9876543210", percent=Decimal(20), everyone=None, priority=101),
        Layer(rollout="third", salt="00112233445566ff", percent=Decimal(50), everyone=None, priority=102),
    ]
    unit, salt = "47c66823bf0b48eaad358db3934d5f52", one[0].salt
    timed = {
        "bucket": lambda: bucket(rollout="gemini-flash-lite", salt=salt, unit=unit),
        "in_candidate": lambda: in_candidate(rollout="gemini-flash-lite", salt=salt, unit=unit, percent=Decimal(5)),
        "assign, one rollout": lambda: assign(one, unit=unit),
        "assign, three rollouts": lambda: assign(three, unit=unit),
    }
    for name, call in timed.items():
        best = min(timeit.repeat(call, number=LOOPS, repeat=7)) / LOOPS
        print(f"{name}: {1e6 * best:.2f} µs")


if __name__ == "__main__":
    main()
