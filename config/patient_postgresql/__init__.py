"""Connections of programs that run by themselves: they wait for a database that is not there yet."""
