"""The rollout's page in admin: what is typed there, as a change that ``rollout.changes`` takes."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from rollout import services, words
from rollout.changes import ChangeRefused, VersionConflict, changed_since
from rollout.models import CRITERIA, RampMode, Rollout
from rollout.steering import MANY, PLAIN

# The form's word for waffle's tri-state.
STATES = {"percentage": None, "forced": True, "off": False}
# Fields that are written as they are typed: all that can be steered, but what the form says otherwise.
TYPED = ("percent", *PLAIN, *MANY)


class StageFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """The ramp's rows, each field with a label of its own: a column's heading is none to a screen reader."""

    def add_fields(self, form: Any, index: int | None) -> None:
        """Label what the row shows."""
        super().add_fields(form, index)
        for field in form.fields.values():
            field.widget.attrs["aria-label"] = field.label


class ExplainForm(forms.Form):
    """Whom to explain: ``person`` becomes a unit and its account (see ``services.find_unit``)."""

    person = forms.CharField(label=_("User name or unit"), max_length=150)
    language = forms.CharField(label=_("Browser's language (optional)"), max_length=20, required=False)

    def clean_person(self) -> tuple[str, Any]:
        """The unit, and whose it is."""
        try:
            return services.find_unit(self.cleaned_data["person"])
        except services.UnitRefused as refused:
            raise forms.ValidationError(str(refused)) from refused


class RolloutForm(forms.ModelForm):  # type: ignore[type-arg]
    """Collects a change and saves nothing. ``refused`` is why an earlier try to save it was refused."""

    refused: ChangeRefused | None = None

    state = forms.ChoiceField(label=_("State"))
    watch_only = forms.MultipleChoiceField(
        label=_("Watch only"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("These criteria are measured and shown, and decide nothing."),
    )
    signals = forms.MultipleChoiceField(
        label=_("Signals"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("These criteria only hold when they are proven to be outside; all others turn back."),
    )
    pause_ramp = forms.BooleanField(
        label=_("Pause the ramp"),
        required=False,
        help_text=_("The ramp runs by itself. Steering by hand pauses it; tick this to confirm."),
    )
    why = forms.CharField(
        label=_("Why"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
        help_text=_("For the history: the reason of this change."),
    )
    expected_version = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = Rollout
        fields = ("name", "baseline", "candidate", *TYPED)
        labels = {
            "superusers": _("Superusers test"),
            "staff": _("Staff test"),
            "languages": _("Languages that test"),
            "users": _("People who test"),
            "groups": _("Groups that test"),
            "note": _("Note"),
        }
        help_texts = {
            "name": "",
            "superusers": _("Superusers get the candidate early."),
            "staff": _("Staff get the candidate early."),
            "languages": _("Codes of browser languages, with commas between: whoever uses one gets the candidate."),
            "users": _("These people get the candidate early."),
            "groups": _("Members of these groups get the candidate early."),
            "note": _("What this rollout is for."),
        }
        widgets = {
            "languages": forms.TextInput(attrs={"class": "vTextField"}),
            "note": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in ("watch_only", "signals"):
            several: Any = self.fields[field]
            several.choices = [(name, words.criterion_title(name)) for name in CRITERIA]
        state: Any = self.fields["state"]
        state.choices = [(key, words.state(everyone)) for key, everyone in STATES.items()]
        state.initial = next(key for key, everyone in STATES.items() if everyone is self.instance.everyone)
        self.fields["expected_version"].initial = self.instance.version
        if self.instance.pk is None:
            # A rollout begins closed: opening it is a step of its own.
            state.initial = "off"
            self.fields["name"].help_text = _("Letters, digits, hyphens and underscores. It can't be changed later.")
            choices = [("", "---------")] + [
                (key, f"{model['label']} ({key})") for key, model in settings.CHAT_MODELS.items()
            ]
            for field in ("baseline", "candidate"):
                self.fields[field] = forms.ChoiceField(label=self.fields[field].label, choices=choices)

    def clean(self) -> dict[str, Any]:
        """Show why an earlier try was refused, beside the field that it was about."""
        refused = self.refused
        expected = self.cleaned_data.get("expected_version")
        if self.instance.pk and expected is not None and expected != self.instance.version:
            refused = VersionConflict(changed_since(self.instance.name, expected))
        if refused is not None:
            self.add_error(self._field_of(refused), self._words_of(refused))
        if self.pauses_ramp and not self.cleaned_data.get("pause_ramp"):
            self.add_error("pause_ramp", _("The ramp runs by itself: confirm that this change pauses it."))
        return self.cleaned_data

    @property
    def pauses_ramp(self) -> bool:
        """Whether what is typed steers by hand a ramp that the autopilot runs. A stop needs no second thought."""
        before, state = self.initial, self.cleaned_data.get("state")
        steered = state == "forced" or self.cleaned_data.get("percent") != before.get("percent")
        return (
            self.instance.runs_itself
            and steered
            and state != "off"
            and self.cleaned_data.get("ramp_mode") == RampMode.AUTOMATIC
        )

    def change(self) -> dict[str, Any]:
        """What ``change_rollout`` takes."""
        everyone = STATES[self.cleaned_data["state"]]
        steering = {"enabled": everyone is not False, "forced": everyone is True}
        return steering | {field: self.cleaned_data[field] for field in TYPED}

    def _field_of(self, refused: ChangeRefused) -> str | None:
        field = "state" if refused.field in ("enabled", "forced") else refused.field
        return field if field in self.fields else None

    def _words_of(self, refused: ChangeRefused) -> str:
        if isinstance(refused, VersionConflict):
            return format_html('{} <a href="">{}</a>', refused.message, _("Show its new state"))
        return refused.message
