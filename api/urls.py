"""Every call of the public API. Anything else below the prefix gets a problem document."""

from django.urls import path

from api.views import accounts, documents, images, sign_in

app_name = "api"

urlpatterns = [
    path("register", accounts.RegisterView.as_view(), name="register"),
    path("login", sign_in.LoginView.as_view(), name="login"),
    path("refresh", sign_in.RefreshView.as_view(), name="refresh"),
    path("logout", sign_in.LogoutView.as_view(), name="logout"),
    path("profile", accounts.ProfileView.as_view(), name="profile"),
    path("profile/image", accounts.ProfileImageView.as_view(), name="profile-image"),
    path("password", sign_in.PasswordView.as_view(), name="password"),
    path("sessions", sign_in.SessionsView.as_view(), name="sessions"),
    path("sessions/<uuid:session_id>", sign_in.SessionView.as_view(), name="session"),
    path("images", images.ImagesView.as_view(), name="images"),
    path("images/<uuid:image_id>", images.ImageView.as_view(), name="image"),
    path("schema", documents.SchemaView.as_view(), name="schema"),
    path("docs", documents.docs, name="docs"),
    path("problems", documents.ProblemsView.as_view(), name="problems"),
    path("<path:path>", documents.unknown_path),
    path("", documents.unknown_path),
]
