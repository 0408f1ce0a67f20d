"""Start a role that was stopped."""

from ops.role_command import RoleCommand


class Command(RoleCommand):
    """`manage.py start ROLE`."""

    help = "Start a role that was stopped, and wait until it is ready."
    action = "start"
