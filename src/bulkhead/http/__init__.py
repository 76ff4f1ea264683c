"""What the web and the gateways both know of HTTP: the types of ASGI, and how a body is read."""
