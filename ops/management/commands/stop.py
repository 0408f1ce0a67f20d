"""Stop one role and let the others go on."""

from ops.role_command import RoleCommand


class Command(RoleCommand):
    """`manage.py stop ROLE`."""

    help = "Stop one role of the running system; the others go on, and it stays stopped until `start`."
    action = "stop"
