"""One file per program of the catalogue."""
