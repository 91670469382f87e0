"""The report's page: facts read from tables, then sections, tables and pictures as HTML and SVG."""
