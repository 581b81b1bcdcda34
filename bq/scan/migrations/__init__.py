"""Migrations of the database of scans, run by Alembic; `python -m bq migrate`, and every opening, apply them."""
