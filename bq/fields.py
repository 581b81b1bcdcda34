"""Write `docs/fields.md`, the field dictionary, from the response types: `python -m bq.fields`."""

from pathlib import Path
from typing import Any

import msgspec

from bq.schema import Analysis

TARGET = Path(__file__).resolve().parent.parent / "docs" / "fields.md"
HEAD = """# Fields

Generated from `bq/schema` by `python -m bq.fields`; a test compares. `extended` comes with `detail: "full"`;
`chart_data`, the signals and the 30-long arrays with `default` and `full`.

| field | type | unit | meaning |
|---|---|---|---|
"""


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "items" in schema:
        return f"list of {_kind(schema['items'])}" if "$ref" not in schema["items"] else "list"
    return str(schema.get("type", "object" if "$ref" in schema else "any"))


def _reference(schema: dict[str, Any]) -> str | None:
    for part in (schema, schema.get("items", {}), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if isinstance(part, dict) and "$ref" in part:
            return str(part["$ref"].rpartition("/")[2])
        if isinstance(part, dict) and isinstance(part.get("items"), dict) and "$ref" in part["items"]:
            return str(part["items"]["$ref"].rpartition("/")[2])
    return None


def _rows(name: str, components: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    for field, schema in components[name]["properties"].items():
        path = f"{prefix}{field}"
        text = schema.get("description", "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{path}` | {_kind(schema)} | {schema.get('x-unit', '')} | {text} |")
        if (inner := _reference(schema)) is not None:
            many = "[]" if _kind(schema).startswith("list") else ""
            rows += _rows(inner, components, f"{path}{many}.")
    return rows


def dictionary() -> str:
    """Give the whole page."""
    _, components = msgspec.json.schema_components([Analysis])
    return HEAD + "\n".join(_rows("Analysis", components, "")) + "\n"


if __name__ == "__main__":
    TARGET.write_text(dictionary(), encoding="utf-8")
