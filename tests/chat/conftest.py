"""What the tests of the adapters share."""

from collections.abc import Iterator

import pytest

from tests.services.faulty_upstream import FaultyUpstream, faulty_upstream


@pytest.fixture
def faulty() -> Iterator[FaultyUpstream]:
    """A vendor that answers wrongly, as the model's name says."""
    with faulty_upstream() as upstream:
        yield upstream
