"""Rows of chat for tests."""

import factory
from django.utils import timezone

from chat.models import ApiToken, Conversation, Message, User


class UserFactory(factory.django.DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    class Params:
        guest = factory.Trait(is_guest=True, username=factory.Sequence(lambda n: f"guest-{n:04x}"))

    username = factory.Sequence(lambda n: f"person-{n}")
    password = factory.django.Password("a-long-enough-password")


class ConversationFactory(factory.django.DjangoModelFactory[Conversation]):
    class Meta:
        model = Conversation

    user = factory.SubFactory(UserFactory)
    title = "A chat"
    model = "chat-model"
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")


class MessageFactory(factory.django.DjangoModelFactory[Message]):
    """A person's message; ``reply=True`` makes a complete reply, ``running=True`` one that is being written."""

    class Meta:
        model = Message

    class Params:
        reply = factory.Trait(
            role="assistant",
            text="An *answer*.",
            reply_to=factory.SubFactory(
                "tests.chat.factories.MessageFactory", conversation=factory.SelfAttribute("..conversation")
            ),
        )
        running = factory.Trait(
            role="assistant",
            text="",
            state="running",
            alive_at=factory.LazyFunction(timezone.now),
            reply_to=factory.SubFactory(
                "tests.chat.factories.MessageFactory", conversation=factory.SelfAttribute("..conversation")
            ),
        )

    conversation = factory.SubFactory(ConversationFactory)
    role = "user"
    text = "A question"
    created_at = factory.LazyFunction(timezone.now)


class ApiTokenFactory(factory.django.DjangoModelFactory[ApiToken]):
    class Meta:
        model = ApiToken

    user = factory.SubFactory(UserFactory)
    name = "a program"
    prefix = "sluice_abcde"
    digest = factory.Sequence(lambda n: f"{n:064x}")
