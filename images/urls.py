"""Addresses of the internal API, below /internal/v1/."""

from django.urls import path

from images import views

urlpatterns = [
    path("images", views.ImagesView.as_view(), name="images"),
    path("images/<uuid:image_id>", views.ImageView.as_view(), name="image"),
    path("profile-image", views.ProfileImageView.as_view(), name="profile-image"),
    path("account", views.AccountView.as_view(), name="account"),
    path("validate", views.ValidateView.as_view(), name="validate"),
    path("accounts/<uuid:account_id>/images", views.AccountImagesView.as_view(), name="account-images"),
    path("changes", views.ChangesView.as_view(), name="changes"),
    path("status", views.StatusView.as_view(), name="status"),
]
