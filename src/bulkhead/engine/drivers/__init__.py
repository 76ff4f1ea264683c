"""One file per kind of server, all behind one Protocol."""
