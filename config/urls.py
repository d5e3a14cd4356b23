"""Where each path goes: each app's own URLs, and the API's schema and documentation."""

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import monitoring

admin.site.site_header = admin.site.site_title = "Sluice"

# Swagger's style sheet draws its icons from data: URLs.
_with_icons = csp_update({"img-src": [SELF, "data:"]})

urlpatterns = [
    path("", include("chat.urls")),
    path("", include("rollout.urls")),
    path("", include("metrics.urls")),
    path("admin/", admin.site.urls),
    path("metrics", monitoring.metrics, name="metrics"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", _with_icons(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="api-docs"),
    # Last: it answers for every other path of the API.
    path("", include("api.urls")),
]

handler400 = "api.problems.bad_request"
handler500 = "api.problems.server_error"
