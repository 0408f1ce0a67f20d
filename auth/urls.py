"""The addresses of the internal API, below /internal/v1/."""

from django.urls import path

from auth import views

urlpatterns = [
    path("accounts", views.Accounts.as_view()),
    path("sessions", views.Sessions.as_view()),
    path("sessions/refresh", views.Refresh.as_view()),
    path("sessions/revoke", views.Revocation.as_view()),
    path("sessions/<uuid:session_id>", views.SessionDetail.as_view()),
    path("account", views.AccountDetail.as_view()),
    path("account/password", views.Password.as_view()),
    path("changes", views.Changes.as_view()),
    path("jwks", views.Jwks.as_view()),
    path("status", views.Status.as_view()),
]
