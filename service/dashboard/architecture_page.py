"""The page of one network: its tree, how the search came to it, what it reaches, where it comes from, and its files.

Everything is drawn and written here, so that the page is whole without JavaScript; scripts walk the tree, move through
the training and follow exports.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from db.errors import NotFoundError
from db.questions import JobQuery
from db.records.jobs import FileRecord, JobRecord
from db.records.results import ArchitectureRecord
from db.records.states import JobKind, JobState
from search.architecture import Architecture
from search.errors import StateFileError
from search.method.routing import ROUTING_NAME, Routing
from search.results import StudyCosts
from service.dashboard.architecture_view import (
    compute_tree_costs,
    describe_export,
    find_file,
    list_pictures,
    list_provenance,
    list_rivals,
    list_stations,
    list_task_rows,
    read_architecture,
    write_snippet,
)
from service.dashboard.site import Operator, PageRoute, SentForm, Viewer, render
from service.errors import ArtifactNameError
from service.pages.routing_drawing import RoutingView, describe_layer, routing_svg
from service.pages.tree.drawing import tree_svg
from service.pages.tree.layout import lay_out
from service.pages.tree.words import describe_tree, outline_tree
from service.schemas.requests import ExportBody
from service.web.fronts import build_front
from service.web.planning.jobs import plan_export_job
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.stored_files import open_stored
from service.web.submission import Submission, submit_job

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_LOG = logging.getLogger(__name__)
_MAX_SHOWN = 6
_MAX_ROUTING_BYTES = 16 << 20


@dataclass(frozen=True)
class LoadedNetwork:
    """A network as it is stored.

    Attributes:
        record: Of the network.
        architecture: Its tree.
        costs: What the parts of the tree cost.
        job: What found it; None once that is deleted.
        files: What its trial left.
    """

    record: ArchitectureRecord
    architecture: Architecture
    costs: StudyCosts
    job: JobRecord | None
    files: Sequence[FileRecord]


@router.get("/architectures/{architecture_id}", name="show_architecture")
def show_architecture(request: Request, architecture_id: str, visitor: Viewer, parts: Parts) -> Response:
    """Show one network."""
    network = load_network(parts, architecture_id)
    record, tree = network.record, network.architecture
    rows = parts.store.list_front_rows(job_id=None, study_key=record.study_key)
    baselines = build_front((), parts.store.list_baselines(record.study_key)).baselines
    single, metrics = baselines.get("single"), dict(record.metrics or {})
    routing = _load_routing(parts, network.files)
    context = {
        "network": record,
        "tree": tree,
        "job": network.job,
        "costs": network.costs,
        "single": single,
        "latency": _find_latency(parts, record),
        "drawing": Markup(tree_svg(tree, network.costs, interactive=True)),
        "words": describe_tree(tree),
        "outline": outline_tree(tree, network.costs),
        "stations": list_stations(tree, network.costs),
        "routing": None if routing is None else _describe_routing(routing, tree),
        "tasks": list_task_rows(tree, metrics, {} if single is None else single.metrics),
        "pictures": list_pictures(network.files),
        "provenance": list_provenance(record, tree),
        "json_file": _describe_json(tree),
        "exports": _list_exports(parts, record),
        "snippet": write_snippet(tree, f"{record.id}.onnx"),
        "rivals": list_rivals(record, rows),
        "num_networks": len(rows),
    }
    return render(request, "architecture.html", title=record.name, section="studies", context=context)


@router.post("/architectures/{architecture_id}/exports", name="ask_for_export")
def ask_for_export(request: Request, architecture_id: str, visitor: Operator, form: SentForm, parts: Parts) -> Response:
    """Submit an export, as the form of the page asks for it without JavaScript."""
    record = parts.store.get_architecture(architecture_id)
    wanted = form.get("format")
    if wanted not in ("onnx", "pt2"):
        raise ProblemError("bad_request", "A network can be written as onnx or pt2. Choose one of the two.")
    if record.metrics is None:
        raise ProblemError("bad_request", "Only a trained network can be written as a file. Retrain it first.")
    body = ExportBody(format=wanted)  # type: ignore[arg-type]  # one of the two, checked above
    submission = Submission(request, visitor.caller, None, body.model_dump(mode="json"))
    submit_job(parts, submission, lambda: plan_export_job(body, record, owner=visitor.owner))
    return RedirectResponse(f"/architectures/{record.id}#downloads", 303, {"Cache-Control": "no-store"})


def load_network(parts: ServerParts, architecture_id: str) -> LoadedNetwork:
    """Return a network with its tree, its job and its files.

    Raises:
        NotFoundError: There is none under this id.
    """
    record = parts.store.get_architecture(architecture_id)
    architecture = read_architecture(record)
    try:
        job = parts.store.get_job(record.job_id)
    except NotFoundError:  # hidden by its owner; what it found stays
        job = None
    files = parts.store.list_files(record.trial_id)
    return LoadedNetwork(record, architecture, compute_tree_costs(architecture), job, files)


def _load_routing(parts: ServerParts, files: Sequence[FileRecord]) -> RoutingView | None:
    """Return how the search made up its mind; None where no such file can be read."""
    file = find_file(files, ROUTING_NAME)
    if file is None or file.num_bytes > _MAX_ROUTING_BYTES:
        return None
    try:
        with open_stored(parts.settings.storage_root, file.path) as stream:
            return RoutingView.of(Routing.from_json_bytes(stream.read()))
    except (FileNotFoundError, ArtifactNameError, StateFileError) as error:
        _LOG.warning("The routing of trial %s cannot be shown: %s", file.trial_id, type(error).__name__)
        return None


def _find_latency(parts: ServerParts, record: ArchitectureRecord) -> Any:
    """Return how long the network takes for one image, as its trial measured it; None where it did not."""
    try:
        return (parts.store.get_trial(record.trial_id).result or {}).get("latency")
    except NotFoundError:
        return None


def _describe_routing(view: RoutingView, tree: Architecture) -> dict[str, Any] | None:
    """Return what the page shows of a routing; None where it is that of other layers or tasks."""
    if view.layers != tree.layer_names or set(view.tasks) != set(tree.tasks):
        return None
    last = view.records[-1].probabilities
    return {
        "view": view,
        "drawing": Markup(routing_svg(view, lay_out(tree).row_y)),
        "percents": view.encode_percents(),
        "moments": [(record.epoch, record.step, record.temperature) for record in view.records],
        "rows": [(name, describe_layer(view.tasks, layer)) for name, layer in zip(view.layers, last, strict=True)],
    }


def _describe_json(tree: Architecture) -> dict[str, Any]:
    """Return size and checksum of architecture.json."""
    content = tree.to_json_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _list_exports(parts: ServerParts, record: ArchitectureRecord) -> list[dict[str, Any]]:
    """Return the newest exports of a network."""
    query = JobQuery(kinds=(JobKind.EXPORT,), architecture_id=record.id, limit=_MAX_SHOWN)
    return [describe_export(job, _find_result(parts, job), record.tasks) for job in parts.store.list_jobs(query)]


def _find_result(parts: ServerParts, job: JobRecord) -> Any:
    """Return what an export wrote; None until it has succeeded."""
    return parts.store.list_trials(job.id)[0].result if job.state is JobState.SUCCEEDED else None
