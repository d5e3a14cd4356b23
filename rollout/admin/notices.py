"""Where notices go, and what became of them."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.read_only import ModelAdmin, ReadOnlyAdmin
from rollout import rights
from rollout.models import Delivery, NoticeTarget
from rollout.notices import notify_test
from rollout.public_http import UrlRefused, check_url


class NoticeTargetForm(forms.ModelForm):  # type: ignore[type-arg]
    """Checks that the address is one of its channel, and that it can be called."""

    class Meta:
        model = NoticeTarget
        fields = ("rollout", "channel", "address", "is_on", "note")
        widgets = {"address": forms.TextInput(attrs={"class": "vLargeTextField"})}

    def clean(self) -> dict[str, Any]:
        """The address beside its channel."""
        address, channel = self.cleaned_data.get("address"), self.cleaned_data.get("channel")
        if address and channel == Delivery.Channel.EMAIL:
            try:
                validate_email(address)
            except ValidationError as error:
                self.add_error("address", error)
        elif address and channel:
            try:
                check_url(address, allow_private=settings.NOTICE_ALLOW_PRIVATE)
            except UrlRefused as refused:
                self.add_error("address", _url_words(refused.code))
        return self.cleaned_data


def _url_words(code: str) -> str:
    return {
        "syntax": _(
            "This is not a URL that can be called. It may hold no user name and no password, and letters beyond a–z "
            "in their encoded form alone."
        ),
        "scheme": _("The URL must begin with https://."),
        "host_unknown": _("This host can't be found."),
        "private": _("This host has an address that is not public; notices go to public addresses alone."),
    }[code]


@admin.register(NoticeTarget)
class NoticeTargetAdmin(ModelAdmin):
    """Who may steer rollouts says where their notices go."""

    form = NoticeTargetForm
    list_display = ("rollout", "channel", "shown", "is_on", "note")
    list_filter = ("channel", "is_on", "rollout")
    change_form_template = "admin/rollout/noticetarget/change_form.html"

    @admin.display(description=gettext_lazy("address"))
    def shown(self, target: NoticeTarget) -> str:
        """Without what lets others write to it."""
        return target.masked

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The secret is of use to webhooks alone."""
        fields = ("rollout", "channel", "address", "is_on", "note")
        return (*fields, "secret") if obj is not None and obj.channel == Delivery.Channel.WEBHOOK else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A target stays of its rollout and channel."""
        return ("rollout", "channel", "secret") if obj is not None else ()

    def get_urls(self) -> list[URLPattern]:
        """Before admin's own, the last of which takes every path."""
        view = self.admin_site.admin_view(self.test_view)
        return [path("<path:object_id>/test/", view, name="rollout_noticetarget_test"), *super().get_urls()]

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a test notice, and go back to the target."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not rights.may_change(request.user):
            raise PermissionDenied
        target: Any = self.get_object(request, unquote(object_id))
        if target is None:
            raise Http404(_("There is no such target."))
        if target.is_on:
            notify_test(target, actor=request.user.get_username(), now=timezone.now())
            messages.success(request, _("A test notice is on its way; below is what becomes of it."))
        else:
            messages.error(request, _("This target is off: nothing was sent."))
        return HttpResponseRedirect(reverse("admin:rollout_noticetarget_change", args=[target.pk]))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """With the target's newest deliveries below."""
        target = kwargs.get("obj")
        if target is not None:
            context["deliveries"] = target.deliveries.all()[:20]
        return super().render_change_form(request, context, *args, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As all of it."""
        return rights.may_change(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may not steer sees no addresses: Slack's are credentials."""
        return rights.may_change(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """As all of it."""
        return rights.may_change(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As all of it."""
        return rights.may_change(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As all of it."""
        return rights.may_change(request.user)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """What was sent, or is tried again."""

    list_display = ("created_at", "rollout", "event", "channel", "target", "state", "attempts", "error", "next_try_at")
    list_filter = ("state", "channel", "event", ("rollout", admin.AllValuesFieldListFilter))
    fields = (*list_display, "ended_at", "message")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As looking."""
        return rights.may_see(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever sees rollouts sees what was told of them: neither addresses nor secrets are in it."""
        return rights.may_see(request.user)
