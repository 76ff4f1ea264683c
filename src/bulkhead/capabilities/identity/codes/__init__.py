"""One-time codes and links, sent by mail to prove that somebody reads it."""
