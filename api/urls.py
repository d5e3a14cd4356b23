"""The API's own paths; the last one takes what nobody else did."""

from django.urls import path

from api.views import UnknownPath, problems_page

urlpatterns = [
    path("api/problems", problems_page, name="problems"),
    path("api/v1", UnknownPath.as_view()),
    path("api/v1/", UnknownPath.as_view()),
    path("api/v1/<path:rest>", UnknownPath.as_view()),
]
