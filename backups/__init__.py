"""Backups of both databases: made, listed, verified, restored and pruned by the console's command `backup`."""
