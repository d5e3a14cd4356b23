"""``/metrics`` for Prometheus: who may read it, and what it tells.

Knows HTTP, the roll-ups' figures and where rollouts and breakers stand. Counts nothing itself.
"""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chat.admission import breakers
from chat.breakers import changes
from chat.models import BreakerChange
from chat.refusals import refusals
from metrics import prometheus
from rollout.services import rollouts

# A proxy on this machine would make everybody a neighbour, and what it says of them can be made up.
_PROXIED = ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded")


class Figures(Collector):
    """What a scrape sees."""

    def collect(self) -> Iterator[Metric]:
        """The totals of all calls, each rollout as it is set, the upstreams' breakers, and who was turned away."""
        yield from prometheus.families(now=timezone.now())
        yield from _rollouts()
        yield from _breakers()
        yield from _refusals()


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """All figures in Prometheus' text format. 403 for whoever may not read them."""
    if not _may_read(request):
        return HttpResponse("Not for you: see METRICS_TOKEN and METRICS_ALLOWED_ADDRESSES.\n", "text/plain", 403)
    return HttpResponse(generate_latest(Figures()), CONTENT_TYPE_PLAIN_0_0_4)


def _may_read(request: HttpRequest) -> bool:
    """Where there is a token, it alone counts; else the address that the connection itself comes from."""
    if settings.METRICS_TOKEN:
        return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")
    if any(header in request.headers for header in _PROXIED):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        # A unix socket has no address.
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in settings.METRICS_ALLOWED_ADDRESSES)


def _rollouts() -> Iterator[Metric]:
    found = rollouts()
    for name, told, value in (
        ("sluice_rollout_percent", "The share of people who get the candidate", lambda rollout: rollout.percent),
        ("sluice_rollout_enabled", "1 while anybody can get the candidate", lambda rollout: rollout.is_on),
        ("sluice_rollout_forced", "1 while everybody gets the candidate", lambda rollout: bool(rollout.force_model)),
    ):
        family = GaugeMetricFamily(name, told, labels=("rollout", "candidate"))
        for rollout in found:
            family.add_metric((rollout.name, rollout.candidate), float(value(rollout)))
        yield family


def _breakers() -> Iterator[Metric]:
    """The same from every process; without Redis nobody knows the states."""
    states = GaugeMetricFamily("sluice_breaker_state", "1 for the state it is in", labels=("upstream", "state"))
    for upstream, breaker in breakers.standing(settings.CHAT_MODELS).items():
        for state in BreakerChange.State.values:
            states.add_metric((upstream, state), float(breaker.state == state))
    yield states
    changed = CounterMetricFamily("sluice_breaker_changes", "Changes into a state", labels=("upstream", "state"))
    counted = changes()
    for upstream in {*settings.CHAT_MODELS, *(upstream for upstream, _state in counted)}:
        for state in BreakerChange.State.values:
            # From 0 on: of a counter that begins with its first change, that change is no rise.
            changed.add_metric((upstream, state), counted.get((upstream, state), 0))
    yield changed


def _refusals() -> Iterator[Metric]:
    told = "Requests that were turned away, or failed, without a call's row"
    family = CounterMetricFamily("sluice_refused_requests", told, labels=("surface", "code"))
    for labels, count in refusals.counted().items():
        family.add_metric(labels, count)
    yield family
