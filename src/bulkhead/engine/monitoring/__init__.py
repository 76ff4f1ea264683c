"""What tells whether the databases of an application still fit together."""
