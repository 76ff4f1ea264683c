"""What clients of servers on this machine need not know, since no TLS is spoken there."""

import ssl

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `verify`. Otherwise every client reads all the authorities of the web, which takes longer
than most requests."""
