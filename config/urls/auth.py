"""The auth role answers its internal API and nothing else."""

from django.urls import include, path

urlpatterns = [path("internal/v1/", include("auth.urls"))]

handler400 = "internal.problems.bad_request"
handler404 = "internal.problems.page_not_found"
handler500 = "internal.problems.server_error"
