"""waffle's own API says what the route says, for every kind of person."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.template import Context, Template
from django.test import RequestFactory
from django.utils.translation import get_language
from waffle import flag_is_active, get_waffle_flag_model
from waffle.testutils import override_flag

from rollout.changes import change_rollout
from rollout.models import Rollout
from rollout.services import route
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, rollout

pytestmark = pytest.mark.django_db

SECOND = "second"


def steer(name: str = NAME, **changes: Any) -> None:
    change_rollout(name, changes, actor=ADA, now=NOW)


@pytest.fixture
def second() -> Any:
    """Asked after the default rollout."""
    return RolloutFactory(
        name=SECOND,
        baseline="chat-model",
        candidate="chat-model-reasoning",
        percent=Decimal(40),
        priority=200,
        salt="fedcba9876543210",
    )


@pytest.fixture
def people() -> list[Any]:
    """Guests and accounts of every kind, some of them for each arm of two rollouts, and the same in each run."""
    Rollout.objects.filter(name=NAME).update(salt="0123456789abcdef")
    beta = Group.objects.create(name="beta")
    known = [
        UserFactory(
            unit=f"{number:032x}", is_staff=number % 5 == 1, is_superuser=number % 5 == 2, guest=number % 2 == 0
        )
        for number in range(20)
    ]
    for person in known[::4]:
        person.groups.add(beta)
    return known


def asked_by(person: Any, language: str = "en", *, path: str = "/") -> tuple[HttpRequest, str]:
    """A request as the app's middleware leaves it, and the language that the chat page would name."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(get_language() or "")
        return HttpResponse()

    request = RequestFactory().get(path, headers={"Accept-Language": language})
    request.user = person
    LocaleMiddleware(view)(request)
    return request, seen[0]


def answers(name: str, person: Any, language: str = "en") -> tuple[bool, bool]:
    """What waffle says of the person, and what the route of their chat page says."""
    request, spoken = asked_by(person, language)
    found = route(requested_model="chat-model", unit=person.unit, user=person, language=spoken)
    return bool(flag_is_active(request, name)), found.rollout == name and found.arm == "candidate"


CHANGES: list[dict[str, Any]] = [
    {"percent": 50},
    {"percent": 100},
    {"percent": 0},
    {"percent": 0, "staff": True},
    {"percent": 0, "superusers": True},
    {"percent": 0, "groups": "beta"},
    {"percent": 0, "users": "two"},
    {"percent": 0, "languages": "fr, de"},
    {"percent": 0, "forced": True},
    {"enabled": False, "staff": True},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("steered", [NAME, SECOND])
def test_waffle_agrees_with_the_route(people, second, changes, steered):
    meant = {"groups": Group.objects.filter(name="beta"), "users": people[3:5]}
    steer(steered, **{field: meant.get(field, value) for field, value in changes.items()})

    for name in (NAME, SECOND):
        found = [answers(name, person, language) for person in people for language in ("en", "de-AT")]
        assert [waffles for waffles, _routes in found] == [routes for _waffles, routes in found]


def test_each_kind_of_tester_is_in_and_others_are_out(people):
    two, beta = people[3:5], people[::4]
    kinds: list[tuple[dict[str, Any], list[Any]]] = [
        ({"staff": True}, [person for person in people if person.is_staff]),
        ({"superusers": True}, [person for person in people if person.is_superuser]),
        ({"users": two}, two),
        ({"groups": Group.objects.all()}, beta),
    ]
    for changes, testers in kinds:
        steer(percent=0, staff=False, superusers=False, users=[], groups=[])
        steer(**changes)
        assert [person for person in people if flag_is_active(asked_by(person)[0], NAME)] == testers


def test_a_language_makes_testers_of_those_who_use_it_and_only_of_them(people):
    steer(percent=0, languages="de")

    assert flag_is_active(asked_by(people[0], "de-AT")[0], NAME)
    assert not flag_is_active(asked_by(people[0], "fr")[0], NAME)


def test_nobody_is_in_two_candidates(people, second):
    steer(percent=60)
    steer(SECOND, percent=60)

    both = [[flag_is_active(asked_by(person)[0], name) for name in (NAME, SECOND)] for person in people]
    assert [True, True] not in both
    assert [True, False] in both
    assert [False, True] in both


def test_the_template_tag_says_the_same(people):
    steer(percent=50)
    template = Template(f"{{% load waffle_tags %}}{{% flag '{NAME}' %}}in{{% else %}}out{{% endflag %}}")

    for person in people:
        request, _language = asked_by(person)
        told = template.render(Context({"request": request}))
        assert told == ("in" if flag_is_active(request, NAME) else "out")


@pytest.mark.parametrize(
    ("changes", "is_in"),
    [
        ({"percent": 0}, False),
        ({"percent": 100}, False),
        ({"forced": True}, True),
        ({"percent": 0, "languages": "en"}, True),
        ({"enabled": False, "languages": "en"}, False),
    ],
)
def test_a_visitor_without_a_row_is_in_only_by_force_or_language(changes, is_in):
    steer(**changes)

    assert flag_is_active(asked_by(AnonymousUser())[0], NAME) is is_in


def test_no_cookie_or_query_string_decides(people):
    steer(percent=0)
    request, _language = asked_by(people[0], path=f"/?dwft_{NAME}=1")
    request.COOKIES[f"dwf_{NAME}"] = "True"

    assert not flag_is_active(request, NAME)


def test_a_flag_that_there_is_not_is_off(people):
    assert not flag_is_active(asked_by(people[0])[0], "nobody")


def test_the_flag_model_is_the_rollout():
    assert get_waffle_flag_model() is Rollout


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("percent", [0, 100])
def test_tests_override_it_and_get_it_back(people, active, percent):
    steer(percent=percent)

    with override_flag(NAME, active=active):
        for person in people[:10]:
            assert answers(NAME, person) == (active, active)
    assert rollout().everyone is None
    assert answers(NAME, people[0]) == (percent == 100, percent == 100)


def test_overriding_the_second_leaves_whom_the_first_takes(people, second):
    steer(percent=50)

    with override_flag(SECOND, active=True):
        found = {flag_is_active(asked_by(person)[0], SECOND): person for person in people}
        assert flag_is_active(asked_by(found[False])[0], NAME)
        assert not flag_is_active(asked_by(found[True])[0], NAME)
