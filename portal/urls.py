"""Addresses of the browser portal."""

from django.urls import path

from portal.views import entry, gallery, profile, security, status

app_name = "portal"

urlpatterns = [
    path("", entry.home, name="home"),
    path("register", entry.register, name="register"),
    path("sign-in", entry.sign_in, name="sign-in"),
    path("sign-in/renewal", entry.renewal, name="sign-in-renewal"),
    path("sign-out", entry.sign_out, name="sign-out"),
    path("profile", profile.profile, name="profile"),
    path("profile/image", profile.change_image, name="profile-image"),
    path("profile/image/remove", profile.remove_image, name="profile-image-remove"),
    path("images", gallery.images, name="images"),
    path("images/<uuid:image_id>", gallery.image, name="image"),
    path("images/<uuid:image_id>/profile-image", gallery.use_as_profile_image, name="image-as-profile-image"),
    path("images/<uuid:image_id>/delete", gallery.delete, name="image-delete"),
    path("password", security.password, name="password"),
    path("sessions", security.sessions, name="sessions"),
    path("sessions/<uuid:session_id>/end", security.end_session, name="session-end"),
    path("status", status.status, name="status"),
    path("status/board", status.board, name="status-board"),
    path("close-account", security.close_account, name="close-account"),
]
