"""The 30-day implied volatility of each ticker and session."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "iv_levels",
        sa.Column("market", sa.String(length=16), nullable=False),
        sa.Column("ticker", sa.String(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quoted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("iv", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("market", "ticker", "day", name=op.f("pk_iv_levels")),
    )


def downgrade() -> None:
    """Drop it, and all that it holds."""
    op.drop_table("iv_levels")
