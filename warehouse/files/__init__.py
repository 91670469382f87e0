"""Files of a home: whole or not at all, locked, addressed by content."""
