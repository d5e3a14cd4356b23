"""People, their tokens, and that there are conversations; never what was said in them."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.db.models import Count
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chat import tokens
from chat.models import ApiToken, BreakerChange, Conversation, User
from chat.secret_admin import SecretAdmin
from metrics.read_only import ModelAdmin, ReadOnlyAdmin
from rollout.rights import may_see


@admin.register(User)
class UserAdmin(BaseUserAdmin):  # type: ignore[type-arg]
    """Django's own, with what is ours."""

    list_display = ("username", "email", "is_staff", "is_guest", "is_active", "date_joined")
    list_filter = ("is_guest", "is_staff", "is_superuser", "is_active", "is_demo", "groups")
    readonly_fields = ("unit", "is_guest", "is_demo")
    ordering = ("-date_joined",)
    fieldsets = (*(BaseUserAdmin.fieldsets or ()), (_("Sluice"), {"fields": readonly_fields}))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes with a person, counted; one by one, it would show the titles of their chats."""
        _every_one, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return [str(user) for user in objs], counts, lacking, protected


@admin.register(Conversation)
class ConversationAdmin(ModelAdmin):
    """That a conversation took place: whose, when and with which model. Titles are people's words too."""

    list_display = ("id", "user", "model", "messages_in_it", "created_at", "updated_at")
    list_display_links = None
    list_filter = ("model", "updated_at")
    search_fields = ("=user__username", "=id")
    search_help_text = _("A user name or a conversation's id, in full.")
    list_select_related = ("user",)
    actions = None

    @admin.display(description=_("messages"), ordering="n")
    def messages_in_it(self, conversation: Any) -> int:
        """How many turns it has."""
        return int(conversation.n)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Each with its number of messages."""
        return super().get_queryset(request).annotate(n=Count("messages"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: people chat on the chat page."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list only: any page of one would be headed by its title."""
        return [url for url in super().get_urls() if url.name == "chat_conversation_changelist"]


@admin.register(ApiToken)
class ApiTokenAdmin(SecretAdmin):
    """Programs' keys to the API."""

    list_display = (
        "prefix",
        "name",
        "user",
        "is_read_only",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("is_read_only", "expires_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")
    new_title = _("The new API token")
    new_fields = ("name", "user", "is_read_only", "expires_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A token stays with its account."""
        return () if obj is None else ("user", *self.readonly_fields)

    def may_choose_accounts(self, request: HttpRequest) -> bool:
        """A token acts as its account, so only superusers make one for somebody else."""
        return request.user.is_superuser

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[ApiToken]", change: bool) -> None:
        """A new token is made by ``tokens``; an old one can get another name, time or limit."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made, text = tokens.create_token(
            user=obj.user, name=obj.name, expires_at=obj.expires_at, is_read_only=obj.is_read_only
        )
        obj.__dict__.update(made.__dict__)
        obj.text = text

    def shown_with(self, obj: Any) -> str:
        """See ``SecretAdmin``, as of the next two."""
        return _("This is the token of %(user)s.") % {"user": obj.user}

    def end(self, obj: Any, *, now: datetime) -> None:
        """By ``tokens``."""
        tokens.revoke_token(obj, now=now)

    def ended_in_words(self, n: int) -> str:
        """Of tokens."""
        return ngettext("%(n)d token was revoked.", "%(n)d tokens were revoked.", n) % {"n": n}


@admin.register(BreakerChange)
class BreakerChangeAdmin(ReadOnlyAdmin):
    """How the upstreams' breakers stand and stood, newest first."""

    list_display = ("changed", "upstream", "state", "why", "failures", "cools_down_until")
    list_filter = ("state", "why", ("upstream", admin.AllValuesFieldListFilter))
    date_hierarchy = "changed_at"

    @admin.display(description=_("since"), ordering="changed_at")
    def changed(self, row: BreakerChange) -> str:
        """To the second: a breaker cools down for some."""
        return _to_the_second(row.changed_at)

    @admin.display(description=_("cools down until"), ordering="until")
    def cools_down_until(self, row: BreakerChange) -> str:
        """The same."""
        return "–" if row.until is None else _to_the_second(row.until)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may see rollouts: an open breaker changes who answers for a candidate."""
        return super().has_view_permission(request, obj) or may_see(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The same."""
        return self.has_view_permission(request)


def _to_the_second(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
