"""The Django app of the images role."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    """Images, their owners and their bytes."""

    name = "images"
    verbose_name = "Images"
