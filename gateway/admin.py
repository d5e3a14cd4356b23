"""Applications' keys in admin. A key is shown once, when it is made."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.keys import new_text, revoke_key
from gateway.models import ApiKey, Feedback, Spending
from metrics.read_only import ModelAdmin, ReadOnlyAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Which application may ask for what, and how much."""

    list_display = (
        "name",
        "prefix",
        "owner",
        "requests_per_minute",
        "tokens_per_minute",
        "dollars_per_day",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("revoked_at",)
    search_fields = ("name", "prefix")
    autocomplete_fields = ("owner",)
    fields = (
        "name",
        "owner",
        "may_name_units",
        "models_allowed",
        "requests_per_minute",
        "tokens_per_minute",
        "dollars_per_day",
        "expires_at",
    )
    actions = ("revoke",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new one gets its text, which is told here and never again."""
        if not change:
            text = new_text()
            obj.set_text(text)
            messages.warning(request, _("The key, shown this once: %(key)s") % {"key": text})
        super().save_model(request, obj, form, change)

    @admin.action(description=gettext_lazy("Revoke selected keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """From the next request on."""
        for key in queryset:
            revoke_key(key, now=timezone.now())

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
