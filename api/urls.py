"""The API's own paths; the last one takes what nobody else did."""

from django.urls import path, re_path

from api.views import UnknownPath, problems_page

urlpatterns = [
    path("api/problems", problems_page, name="problems"),
    # Not <path:…>, which takes no line breaks.
    re_path(r"\Aapi/v1(/[\s\S]*)?\Z", UnknownPath.as_view()),
]
