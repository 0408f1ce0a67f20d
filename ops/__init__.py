"""Operator commands: they run, watch and stop the roles. No serving role installs this app, no image contains it."""
