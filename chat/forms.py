"""What people type into forms, checked: sign-up and a conversation's title."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from chat import accounts
from chat.models import User

TAKEN = _("That name is taken. Choose another one.")


class SignUpForm(forms.Form):
    """A name, a password that Django's validators accept, and an email address if the person likes."""

    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    email = forms.EmailField(
        label=_("Email address (optional)"),
        required=False,
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 8 characters, not only digits."),
    )

    def clean_username(self) -> str:
        """The name in its normal form, if it is free."""
        username = str(User.normalize_username(self.cleaned_data["username"]))
        if accounts.username_taken(username):
            raise ValidationError(TAKEN)
        return username

    def clean(self) -> dict[str, Any]:
        """The password, judged beside the name and the address it must not resemble."""
        data = self.cleaned_data
        if "password" in data:
            person = User(username=data.get("username", ""), email=data.get("email", ""))
            try:
                validate_password(data["password"], person)
            except ValidationError as error:
                self.add_error("password", error)
        return data


class TitleForm(forms.Form):
    """A conversation's new title."""

    title = forms.CharField(max_length=200)
