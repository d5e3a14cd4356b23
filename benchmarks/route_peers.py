"""One sticky percentage flag, as Sluice's peers decide it: µs a person, as JSON.

Run by ``time_route`` with the Python of a virtual environment that has ``peers.txt``: knows nothing of Sluice. Flags
lie in memory, as their documentation has it for servers; nothing is sent anywhere.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

PEOPLE = [f"{number:032x}" for number in range(1000)]
PERCENT = 30
GOES = 15


def _growthbook() -> Callable[[str], bool]:
    from growthbook import GrowthBook

    rule = {"force": True, "coverage": PERCENT / 100, "hashAttribute": "id"}
    book = GrowthBook(features={"flag": {"defaultValue": False, "rules": [rule]}})

    def decide(person: str) -> bool:
        book.set_attributes({"id": person})
        return bool(book.is_on("flag"))

    return decide


def _posthog() -> Callable[[str], bool]:
    from posthog import Posthog

    client = Posthog("key", host="http://127.0.0.1:9", sync_mode=True, disable_geoip=True)
    client.feature_flags = [
        {
            "id": 1,
            "key": "flag",
            "active": True,
            "filters": {"groups": [{"properties": [], "rollout_percentage": PERCENT}]},
        }
    ]

    def decide(person: str) -> bool:
        flags = client.evaluate_flags(person, flag_keys=["flag"], only_evaluate_locally=True, disable_geoip=True)
        return flags.is_enabled("flag", send_feature_flag_events=False)

    return decide


def _unleash() -> Callable[[str], bool]:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    cache = FileCache("bench", directory=mkdtemp())
    parameters = {"rollout": str(PERCENT), "stickiness": "userId", "groupId": "flag"}
    strategy = {"name": "flexibleRollout", "parameters": parameters}
    feature = {"name": "flag", "type": "release", "enabled": True, "strategies": [strategy]}
    cache.bootstrap_from_dict({"version": 1, "features": [feature]})
    client = UnleashClient(
        url="http://127.0.0.1:9", app_name="bench", cache=cache, disable_metrics=True, disable_registration=True
    )
    client.initialize_client(fetch_toggles=False)
    return lambda person: client.is_enabled("flag", {"userId": person})


def _waffle() -> Callable[[str], bool]:
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "waffle"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import RequestFactory
    from waffle import flag_is_active
    from waffle.models import Flag

    call_command("migrate", verbosity=0)
    # Its stickiness is a cookie with the throw of a dice: here all but the first go have it.
    Flag.objects.create(name="flag", percent=PERCENT, superusers=False)
    requests = {}
    for number, person in enumerate(PEOPLE):
        request = RequestFactory().get("/")
        request.user = User(pk=number + 1, username=person)
        requests[person] = request

    def decide(person: str) -> bool:
        request = requests[person]
        active = bool(flag_is_active(request, "flag"))
        request.COOKIES.setdefault("dwf_flag", str(active))
        return active

    return decide


PEERS = {
    "GrowthBook": _growthbook,
    "PostHog, local evaluation": _posthog,
    "UnleashClient": _unleash,
    "django-waffle": _waffle,
}


def time_a_person(decide: Callable[[str], bool]) -> tuple[float, float]:
    """µs a person, and the share that got the flag. The first go over all people warms up; of the others the quickest
    counts, as Python's ``timeit`` has it: what else the machine does can only make one slower.
    """
    share = sum(map(decide, PEOPLE)) / len(PEOPLE)
    taken = []
    for _go in range(GOES):
        began = time.perf_counter()
        for person in PEOPLE:
            decide(person)
        taken.append(time.perf_counter() - began)
    return 1e6 * min(taken) / len(PEOPLE), share


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    json.dump(time_a_person(PEERS[sys.argv[1]]()), sys.stdout)
