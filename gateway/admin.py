"""Applications' keys in admin. A key is shown once, when it is made."""

from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.secret_admin import SecretAdmin
from gateway.keys import new_text, revoke_key
from gateway.models import ApiKey, Feedback, Spending
from metrics.read_only import ReadOnlyAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(SecretAdmin):
    """Which application may ask for what, and how much."""

    list_display = (
        "name",
        "state",
        "prefix",
        "owner",
        "limits",
        "expires_at",
        "calls",
    )
    list_filter = ("expires_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix")
    readonly_fields = ("prefix", "created_at", "revoked_at")
    new_title = gettext_lazy("The new API key")
    new_fields = (
        "name",
        "owner",
        "may_name_units",
        "models_allowed",
        "requests_per_minute",
        "tokens_per_minute",
        "dollars_per_day",
        "expires_at",
    )

    def may_choose_accounts(self, request: HttpRequest) -> bool:
        """Whoever may look them up."""
        return request.user.has_perm("chat.view_user")

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """The same: it looks them up."""
        return ("owner",) if self.may_choose_accounts(request) else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Models are ticked, and not typed as JSON."""
        if db_field.name != "models_allowed":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return forms.MultipleChoiceField(
            label=db_field.verbose_name.capitalize(),
            help_text=db_field.help_text,
            choices=[(key, entry["label"]) for key, entry in settings.CHAT_MODELS.items()],
            widget=forms.CheckboxSelectMultiple,
            required=False,
        )

    @admin.display(description=gettext_lazy("state"))
    def state(self, key: ApiKey) -> str:
        """Whether it serves."""
        if key.revoked_at is not None:
            return _("revoked")
        return _("expired") if key.expires_at is not None and key.expires_at <= timezone.now() else _("live")

    @admin.display(description=gettext_lazy("limits"))
    def limits(self, key: ApiKey) -> str:
        """What it has of them."""
        said = {
            _("%(n)s requests a minute"): key.requests_per_minute,
            _("%(n)s tokens a minute"): key.tokens_per_minute,
            _("$%(n)s a day"): key.dollars_per_day,
        }
        return ", ".join(words % {"n": localize(n)} for words, n in said.items() if n is not None)

    @admin.display(description=gettext_lazy("calls"))
    def calls(self, key: ApiKey) -> str:
        """To those that it made."""
        address = reverse("admin:metrics_modelcall_changelist", query={"q": key.prefix})
        return format_html('<a href="{}">{}</a>', address, _("Look at them"))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Calls for those who may see some."""
        shown = super().get_list_display(request)
        may_see = request.user.has_perm("metrics.view_modelcall")
        return shown if may_see else [name for name in shown if name != "calls"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new one gets its text."""
        if not change:
            obj.text = new_text()
            obj.set_text(obj.text)
        super().save_model(request, obj, form, change)

    def shown_with(self, obj: Any) -> str:
        """See ``SecretAdmin``, as of the next two."""
        return _("This is the key of %(application)s.") % {"application": obj.name}

    def end(self, obj: Any, *, now: datetime) -> None:
        """By ``keys``."""
        revoke_key(obj, now=now)

    def ended_in_words(self, n: int) -> str:
        """Of keys."""
        return ngettext("%(n)d key was revoked.", "%(n)d keys were revoked.", n) % {"n": n}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: its calls name it. Revoke it instead."""
        return False


@admin.register(Spending)
class SpendingAdmin(ReadOnlyAdmin):
    """What each key has spent."""

    list_display = ("day", "key", "spent_usd", "reserved_usd")
    ordering = ("-day",)

    @admin.display(description=gettext_lazy("spent, US dollars"))
    def spent_usd(self, row: Spending) -> str:
        """From pico-dollars."""
        return f"{row.spent / 10**12:.6f}"

    @admin.display(description=gettext_lazy("reserved, US dollars"))
    def reserved_usd(self, row: Spending) -> str:
        """From pico-dollars."""
        return f"{row.reserved / 10**12:.6f}"


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    """What people said, through applications."""

    list_display = ("at", "key", "rating", "reason", "comment")
    list_filter = ("rating", "reason")
