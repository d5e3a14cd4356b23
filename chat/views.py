"""The pages that people look at: the chat, its history, sign-up and log-in. Answers are in ``chat.answers``."""

from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import FormView
from redis.exceptions import RedisError

from chat import accounts, livelog
from chat.forms import TAKEN, SignUpForm, TitleForm
from chat.models import Conversation, Message, User

SUGGESTIONS = (
    _("Explain how a canal lock works, to a curious ten-year-old"),
    _("Plan a relaxed weekend of hiking with two friends"),
    _("Write a Python function that finds duplicate files, with comments"),
)


@require_safe
@never_cache
@ensure_csrf_cookie
def home(request: HttpRequest) -> HttpResponse:
    """A new chat."""
    return _chat_page(request, None)


@require_safe
@never_cache
@ensure_csrf_cookie
def conversation(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """One of the person's own chats; 404 for any other, whether there is one or not."""
    return _chat_page(request, get_object_or_404(_conversations(request.user), pk=conversation_id))


@require_safe
@never_cache
def history(request: HttpRequest) -> HttpResponse:
    """The list of the person's chats, the one named by ``current`` marked."""
    current = request.GET.get("current", "")
    return render(request, "chat/_history.html", {"conversations": _conversations(request.user), "current": current})


@require_POST
def rename(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Give a chat another title; answers its history entry, unchanged where the title was no good."""
    chat = get_object_or_404(_conversations(request.user), pk=conversation_id)
    form = TitleForm(request.POST)
    if form.is_valid():
        chat.title = form.cleaned_data["title"]
        chat.save(update_fields=["title"])
    return render(request, "chat/_entry.html", {"entry": chat, "current": request.POST.get("current", "")})


@require_POST
async def delete(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Delete a chat for good, and stop what is being written in it; whoever looks at it goes to a new one."""
    chat = await aget_object_or_404(_conversations(await request.auser()), pk=conversation_id)
    running = [reply async for reply in chat.messages.filter(state=Message.State.RUNNING)]
    await chat.adelete()
    # Without Redis the answers end by themselves, unread.
    with suppress(RedisError, OSError):
        for reply in running:
            await livelog.request_stop(reply.id)
    if request.POST.get("current") == str(conversation_id):
        return HttpResponse(headers={"HX-Redirect": reverse("home")})
    return HttpResponse()


class _ForStrangersAndGuests(RedirectURLMixin):
    """A page that somebody with an account has no use for; ``next`` never leads off the site."""

    next_page = settings.LOGIN_REDIRECT_URL
    request: HttpRequest

    @method_decorator(sensitive_post_parameters())
    @method_decorator(never_cache)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if isinstance(request.user, User) and not request.user.is_guest:
            return redirect(self.get_success_url())
        page: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        return page


class LogIn(_ForStrangersAndGuests, LoginView):
    """Log in; a guest's chats come along to the account (see ``accounts.adopt_conversations``)."""

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        guest, account = self.request.user, form.get_user()
        response = super().form_valid(form)
        if isinstance(guest, User) and isinstance(account, User):
            accounts.adopt_conversations(guest, account)
        return response


class SignUp(_ForStrangersAndGuests, FormView):  # type: ignore[type-arg]
    """Make an account; a guest's chats stay, because the guest becomes the account."""

    template_name = "registration/signup.html"
    form_class = SignUpForm

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        person = self.request.user if isinstance(self.request.user, User) else None
        data = form.cleaned_data
        try:
            account = accounts.sign_up(person, data["username"], data["password"], data["email"])
        except accounts.UsernameTaken:
            form.add_error("username", TAKEN)
            return self.form_invalid(form)
        login(self.request, account)
        return super().form_valid(form)


def _conversations(user: User | AnonymousUser) -> QuerySet[Conversation]:
    """The person's own chats, newest first; a stranger has none."""
    return Conversation.objects.filter(user=user) if isinstance(user, User) else Conversation.objects.none()


def _chat_page(request: HttpRequest, chat: Conversation | None) -> HttpResponse:
    return render(
        request,
        "chat/chat.html",
        {
            "conversation": chat,
            "chat_messages": _transcript(chat) if chat else [],
            "conversations": _conversations(request.user),
            "current": str(chat.pk) if chat else "",
            "models": settings.CHAT_MODELS,
            "model": chat.model if chat else settings.DEFAULT_CHAT_MODEL,
            "suggestions": SUGGESTIONS,
            "client_id": uuid4(),
            "max_chars": settings.MAX_MESSAGE_CHARS,
        },
    )


def _transcript(chat: Conversation) -> QuerySet[Message]:
    """The messages to show: of several replies to one question only the last, each right after its question."""
    return (
        chat.messages.filter(replaced=False)
        .annotate(asked_at=Coalesce("reply_to__created_at", "created_at"))
        .order_by("asked_at", "created_at")
    )
