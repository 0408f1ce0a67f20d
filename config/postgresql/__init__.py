"""PostgreSQL as Seawall uses it: the backend of the serving roles, and `manage.py migrate`."""
