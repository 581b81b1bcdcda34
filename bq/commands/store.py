"""Commands on the store of scans: migrate, prune, import, export."""

import argparse
import datetime as dt
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bq.config import from_env
from bq.errors import Failure, bad_request
from bq.scan.records import Keep


def add(commands: Any) -> None:
    """Add the commands to the parser's; each sets `run`."""
    migrate = commands.add_parser("migrate", help="bring the database of scans up to date (opening it does so too)")
    migrate.set_defaults(run=_migrate)

    prune = commands.add_parser("prune", help="delete what is older than it is to be kept")
    keep = Keep()
    prune.add_argument("--keep-days", type=_days, default=keep.answers, help="whole answers (default: %(default)s)")
    prune.add_argument("--keep-rows-days", type=_days, default=keep.rows, help="numbers (default: %(default)s)")
    prune.add_argument("--keep-surface-days", type=_days, default=keep.surface, help="surface (default: %(default)s)")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    prune.set_defaults(run=_prune)

    take = commands.add_parser("import", help="take over the results of ButterQuant v4.1 from an SQLite file")
    take.add_argument("file", type=Path, help="with analysis_history or daily_metrics: history.db, market_research.db")
    take.add_argument("--zone", default="UTC", help="time zone of the machine that wrote it, America/New_York")
    take.set_defaults(run=_import)

    export = commands.add_parser("export", help="write stored numbers as CSV or Parquet")
    export.add_argument("what", choices=("rankings", "rows", "surface", "iv"), help="which table")
    export.add_argument("--format", choices=("csv", "parquet"), help="default: by the name of the file, else csv")
    export.add_argument("-o", "--output", type=Path, help="file; standard output if left out")
    export.add_argument("--market", help="of this market only: sample, files, yahoo")
    for name, text in (
        ("ticker", "of this symbol only"),
        ("scan", "of this scan only"),
        ("universe", "a ranking: the latest of this universe"),
        ("since", "from this session on, YYYY-MM-DD"),
        ("until", "up to this session"),
    ):
        export.add_argument(f"--{name}", help=text)
    export.set_defaults(run=_export)


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= 36_500:
        raise argparse.ArgumentTypeError("days: 0 to 36500")
    return days


def _url() -> str:
    from bq.scan.database import url_of

    return url_of(from_env(os.environ))


def _migrate(arguments: argparse.Namespace) -> int:
    from bq.scan import migrate
    from bq.scan.database import Database

    database = Database(_url())
    try:
        changed = migrate.upgrade(database)
    finally:
        database.close()
    print(f"The database of scans {'was brought' if changed else 'is'} up to date (revision {migrate.HEAD}).")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from bq.scan.prune import prune
    from bq.scan.store import Store

    keep = Keep(arguments.keep_days, arguments.keep_rows_days, arguments.keep_surface_days)
    store = Store.open(_url())
    try:
        found = prune(store.database, dt.datetime.now(dt.UTC), keep, dry_run=arguments.dry_run)
    finally:
        store.close()
    done = "would be deleted" if arguments.dry_run else "were deleted"
    print(
        f"{found.answers} whole answers ({found.answer_bytes / 2**20:.1f} MiB), {found.scans} scans with "
        f"{found.rows} rows, {found.surface_rows} rows of the surface {done}."
    )
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from bq.scan import legacy
    from bq.scan.import_legacy import import_file
    from bq.scan.store import Store

    try:
        zone = ZoneInfo(arguments.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Failure(bad_request(f"--zone {arguments.zone!r}: there is no such time zone.")) from None
    store = Store.open(_url())
    try:
        found = import_file(store, arguments.file, zone, dt.datetime.now(dt.UTC))
    finally:
        store.close()
    print(f"{found.taken} of {found.rows} rows were imported, as {found.scans} scans.")
    for reason, count in found.skipped.most_common():
        print(f"  {count} skipped: {legacy.REASONS[reason]} ({reason})")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from bq.scan import export, tabular
    from bq.scan.store import Store

    given = {
        name: getattr(arguments, name) for name in export.ExportQuery.__struct_fields__ if getattr(arguments, name)
    }
    try:
        query = msgspec.convert(given, export.ExportQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Failure(bad_request(f"The selection cannot be read: {error}.")) from None
    export.check(arguments.what, query)
    is_parquet = arguments.output is not None and arguments.output.suffix == ".parquet"
    form: tabular.Format = arguments.format or ("parquet" if is_parquet else "csv")
    writer = tabular.writer(export.columns(arguments.what), form)
    store = Store.open(_url())
    count, after = 0, None
    with ExitStack() as stack:
        stack.callback(store.close)
        target = None
        while True:
            with store.database.read() as connection:
                page = export.page(connection, arguments.what, arguments.market, query, after)
            if target is None:  # only now: what cannot be read must not leave an empty file behind
                target = stack.enter_context(arguments.output.open("wb")) if arguments.output else sys.stdout.buffer
            target.write(writer.add(page.rows))
            count, after = count + len(page.rows), page.following
            if after is None:
                break
        target.write(writer.end())
        target.flush()
    if arguments.output:
        print(f"{count} rows in {arguments.output}")
    return 0
