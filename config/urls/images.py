"""The images role answers its internal API, and as the origin of stored bytes."""

from django.urls import include, path

from images import origin

urlpatterns = [
    path("internal/v1/", include("images.urls")),
    path("uploads/<str:name>", origin.serve, name="origin"),
]

handler400 = "internal.problems.bad_request"
handler404 = "internal.problems.page_not_found"
handler500 = "internal.problems.server_error"
