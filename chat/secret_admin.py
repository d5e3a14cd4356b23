"""Admin pages of what lets programs in: shown once when it is made, revoked for good."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import User
from metrics.read_only import ModelAdmin


class SecretAdmin(ModelAdmin):
    """Of a model with ``revoked_at``; whoever saves a new one puts its secret into ``obj.text``.

    ``new_fields`` is what a new one is asked for; its ``readonly_fields`` are shown once there is something in them.
    """

    new_title: Any
    new_fields: tuple[str, ...]
    actions = ("revoke",)

    def may_choose_accounts(self, request: HttpRequest) -> bool:
        """Whether one may be made for somebody else."""
        raise NotImplementedError

    def shown_with(self, obj: Any) -> str:
        """Whose it is, in a sentence."""
        raise NotImplementedError

    def end(self, obj: Any, *, now: datetime) -> None:
        """Revoke one."""
        raise NotImplementedError

    def ended_in_words(self, n: int) -> str:
        """That so many were revoked."""
        raise NotImplementedError

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """See the class."""
        return self.new_fields if obj is None else (*self.new_fields, *self.readonly_fields)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """One's own account, where nothing else is chosen or may be."""
        accounts = User.objects.filter(is_guest=False, is_active=True)
        if not self.may_choose_accounts(request):
            accounts = accounts.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, queryset=accounts, initial=request.user.pk, **kwargs)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows it, this once. A redirect would have to keep it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": self.new_title,
            "opts": self.opts,
            "told": self.shown_with(obj),
            "text": obj.text,
        }
        return TemplateResponse(request, "admin/secret_created.html", context)

    @admin.action(description=_("Revoke selected %(verbose_name_plural)s"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End them at once; they stay listed."""
        live = list(queryset.filter(revoked_at=None))
        for obj in live:
            self.end(obj, now=timezone.now())
            self.log_change(request, obj, [{"changed": {"fields": [str(_("revoked"))]}}])
        self.message_user(request, self.ended_in_words(len(live)), messages.SUCCESS)
