"""`tlaudit schema`."""

from __future__ import annotations

import json
import sys


def schema() -> None:
    """Print the JSON Schemas of results and configuration."""
    from tlaudit.comparisons import Comparison
    from tlaudit.options import Settings
    from tlaudit.records import SCHEMA_VERSION
    from tlaudit.results import AuditReport, CheckResult, Inspection
    from tlaudit.verdicts import Verdict

    documents = {
        "schema_version": SCHEMA_VERSION,
        "result": CheckResult.model_json_schema(mode="serialization"),
        "audit": AuditReport.model_json_schema(mode="serialization"),
        "verdict": Verdict.model_json_schema(mode="serialization"),
        "comparison": Comparison.model_json_schema(mode="serialization"),
        "inspection": Inspection.model_json_schema(mode="serialization"),
        "configuration": Settings.model_json_schema(),
    }
    sys.stdout.write(json.dumps(documents, indent=2) + "\n")
