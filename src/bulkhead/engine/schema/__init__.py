"""What the catalogue of a database says: snapshots, differences, findings, policies, probes."""
