"""Stop a role and start it again."""

from ops.role_command import RoleCommand


class Command(RoleCommand):
    """`manage.py restart ROLE`."""

    help = "Stop a role, start it again, and wait until it is ready."
    action = "restart"
