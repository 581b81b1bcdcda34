"""ButterQuant: where each share is going, how much it will move, and which butterfly, if any, is worth buying."""

__version__ = "5.0.0"
