"""Messages between databases: events that arrive exactly once, and sagas that end whole."""
