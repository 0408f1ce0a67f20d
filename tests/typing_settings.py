"""The settings of all roles at once, for the type checker, which knows one settings module. No role is like this."""

from config.settings.base import env

env.seal = lambda: None  # type: ignore[method-assign]  # more modules read it than one

from config.settings.gateway import *  # noqa: E402, F403
from config.settings.auth import *  # noqa: E402, F403
from config.settings.images import *  # noqa: E402, F403
from config.settings.console import *  # noqa: E402, F403  # the last one: it has the apps with models

FILE_UPLOAD_TEMP_DIR = None
