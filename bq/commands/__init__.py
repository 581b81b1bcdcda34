"""One file a command of `python -m bq`: its arguments, and what it prints."""
