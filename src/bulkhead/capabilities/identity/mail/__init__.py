"""Mail: written, queued with the change that causes it, and handed over after its commit."""
