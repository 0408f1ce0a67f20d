"""The console is Django admin, at the root of a port of its own."""

from django.contrib import admin
from django.urls import path

admin.site.site_header = "Seawall console"
admin.site.site_title = "Seawall console"
admin.site.index_title = "Accounts, sessions, audit and images"
admin.site.site_url = None

urlpatterns = [path("", admin.site.urls)]
