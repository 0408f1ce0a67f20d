"""What keeps the store whole over the years: the work behind `manage.py images`.

Everything here goes through any number of records and stored files in bounded memory, may be interrupted at any moment
and run again, and runs beside a role that serves.
"""
