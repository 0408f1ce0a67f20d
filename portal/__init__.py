"""The browser portal of the gateway: server-rendered pages, no database, state only in a signed cookie."""
