"""summary.json: the outcome of a run for other programs. Documented in docs/events.md; `schema_version` 1."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome

SCHEMA = 1


def summary(outcome: RunOutcome) -> str:
    """The text of summary.json."""
    run = outcome.run
    document: dict[str, Any] = {
        "schema_version": SCHEMA,
        "run_id": run.run_id,
        "started": datetime.fromtimestamp(run.at, UTC).isoformat(timespec="seconds"),
        "duration_s": round(outcome.duration, 3),
        "complete": outcome.finished is not None,
        "interrupted": outcome.interrupted,
        "exit_code": outcome.exit.code,
        "meaning": outcome.exit.value,
        "profile": run.profile.id,
        "plan_digest": run.plan_digest,
        "versions": run.versions,
        "cells": [_cell(cell) for cell in outcome.cells],
        "crashes": [
            {"worker": crash.worker, "node": crash.node, "message": crash.message} for crash in outcome.crashes
        ],
        "collection_failures": [{"node": each.node, "message": each.message} for each in outcome.collection_failures],
        "internal_errors": [each.message for each in outcome.internal_errors],
        "moves": [each.model_dump(include={"cell", "lost", "host", "reason", "again"}) for each in outcome.moves],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: CellOutcome) -> dict[str, Any]:
    return {
        "id": cell.id,
        "guest": cell.plan.guest.id,
        "hypervisor": cell.plan.hypervisor.id,
        "extension": cell.plan.extension.id,
        "host": cell.plan.host,
        "verdict": cell.verdict.value,
        "reason": cell.reason,
        "counts": cell.counts,
        "duration_s": round(cell.duration, 3),
        "known_issues": [issue.model_dump(mode="json") for issue in cell.plan.known_issues],
        "probes": [_probe(probe) for probe in cell.probes],
    }


def _probe(probe: ProbeOutcome) -> dict[str, Any]:
    return {
        "id": probe.probe,
        "required": probe.required,
        "verdict": probe.word,
        "reason": probe.reason,
        "duration_s": round(probe.duration, 3),
        "metrics": [metric.model_dump(mode="json") for result in probe.results for metric in result.metrics],
        "evidence": [attachment.path for result in probe.results for attachment in result.attachments],
        "facts": {name: value for result in probe.results for name, value in result.facts.items()},
    }
