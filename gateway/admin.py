"""Applications' keys in admin. A key is shown once, when it is made."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.models import User
from gateway.keys import new_text, revoke_key
from gateway.models import ApiKey, Feedback, Spending
from metrics.read_only import ModelAdmin, ReadOnlyAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Which application may ask for what, and how much."""

    list_display = (
        "name",
        "state",
        "prefix",
        "owner",
        "requests_per_minute",
        "tokens_per_minute",
        "dollars_per_day",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("expires_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix")
    readonly_fields = ("prefix", "created_at", "revoked_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new key has no prefix yet."""
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
        return fields if obj is None else (*fields, *self.readonly_fields)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """For those who may look accounts up."""
        return ("owner",) if request.user.has_perm("chat.view_user") else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """One's own, where nothing else is chosen; whoever may not look accounts up has no other to choose."""
        accounts = User.objects.filter(is_guest=False, is_active=True)
        if not request.user.has_perm("chat.view_user"):
            accounts = accounts.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, queryset=accounts, initial=request.user.pk, **kwargs)

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

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new one gets its text."""
        if not change:
            obj.text = new_text()
            obj.set_text(obj.text)
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows the key, this once. A redirect would have to keep it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("The new API key"),
            "opts": self.opts,
            "told": _("This is the key of %(application)s.") % {"application": obj.name},
            "text": obj.text,
        }
        return TemplateResponse(request, "admin/secret_created.html", context)

    @admin.action(description=gettext_lazy("Revoke selected keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """From the next request on; they stay listed."""
        live = list(queryset.filter(revoked_at=None))
        for key in live:
            revoke_key(key, now=timezone.now())
            self.log_change(request, key, [{"changed": {"fields": [str(_("revoked"))]}}])
        told = ngettext("%(n)d key was revoked.", "%(n)d keys were revoked.", len(live)) % {"n": len(live)}
        self.message_user(request, told, messages.SUCCESS)

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
