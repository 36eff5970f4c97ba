"""The page that sets two to four networks side by side: their differences, their trees row by row, their curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from db.records.jobs import TrialRecord
from search.architecture import Architecture
from service.dashboard.job.curves import Curves, build_curves, draw_legend
from service.dashboard.site import PageRoute, Viewer, render
from service.dashboard.study.comparison import MAX_COMPARED, Compared, compare_networks, label_networks
from service.dashboard.study.front import read_finite
from service.pages.curves_drawing import panel_svg
from service.pages.tree.difference import aligned_tree_svgs, describe_difference, find_differing_layers
from service.web.fronts import build_front
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_MAX_ID_CHARS = 80


@dataclass(frozen=True)
class DrawnTree:
    """The tree of a network as the page shows it."""

    label: str
    drawing: Markup


@router.get("/compare", name="show_comparison")
def show_comparison(request: Request, visitor: Viewer, parts: Parts) -> Response:
    """Show networks side by side; `ids` holds their ids, parted by commas or given several times."""
    ids = read_ids(request.query_params.getlist("ids"))
    shows_all = request.query_params.get("all") == "1"
    networks = load_compared(parts, ids)
    curves = load_curves(parts, networks) if len(networks) > 1 else None
    context = {
        "networks": networks,
        "shows_all": shows_all,
        "toggle": address_of(ids, shows_all=not shows_all),
        "without": [address_of([other for other in ids if other != own], shows_all=shows_all) for own in ids],
        "groups": compare_networks(networks) if len(networks) > 1 else (),
        "trees": draw_trees(networks) if len(networks) > 1 else (),
        "difference": describe_difference([n.architecture for n in networks], [n.label for n in networks])
        if len(networks) > 1
        else "",
        "num_differing": len(find_differing_layers([n.architecture for n in networks])) if networks else 0,
        "curves": curves,
        "legend": draw_legend(curves) if curves is not None else (),
        "draw": lambda panel: Markup(panel_svg(panel)),
        "studies": list(dict.fromkeys(network.record.study_key for network in networks)),
    }
    return render(request, "compare.html", title="Compare", section="studies", context=context)


def read_ids(values: Sequence[str]) -> list[str]:
    """Return the ids that an address names, each once.

    Raises:
        ProblemError: invalid_parameter, for more than can be compared.
    """
    ids = list(dict.fromkeys(one.strip() for value in values for one in value.split(",") if one.strip()))
    if len(ids) > MAX_COMPARED:
        raise ProblemError(
            "invalid_parameter", f"At most {MAX_COMPARED} networks can be compared, got {len(ids)}. Leave some out."
        )
    if any(len(one) > _MAX_ID_CHARS or "\0" in one for one in ids):
        raise ProblemError("not_found")
    return ids


def address_of(ids: Sequence[str], *, shows_all: bool) -> str:
    """Return the address of a comparison."""
    return f"/compare?ids={','.join(quote(one) for one in ids)}{'&all=1' if shows_all else ''}"


def load_compared(parts: ServerParts, ids: Sequence[str]) -> list[Compared]:
    """Return the networks of some ids in their order.

    Raises:
        NotFoundError: There is none under one of them.
    """
    records = [parts.store.get_architecture(one) for one in ids]
    jobs = [parts.store.get_job(record.job_id) for record in records]
    singles = {
        key: build_front((), parts.store.list_baselines(key)).baselines.get("single")
        for key in {record.study_key for record in records}
    }
    return [
        Compared(
            record=record,
            architecture=Architecture.model_validate_json(json.dumps(dict(record.document))),
            job=job,
            single=singles[record.study_key],
            label=label,
            latency_ms=read_finite(record.latency_ms),
        )
        for record, job, label in zip(records, jobs, label_networks(records, jobs), strict=True)
    ]


def draw_trees(networks: Sequence[Compared]) -> list[DrawnTree]:
    """Return the trees, rows level where they stand on one backbone, what sets them apart marked."""
    drawings = aligned_tree_svgs([network.architecture for network in networks], [None] * len(networks))
    return [DrawnTree(network.label, Markup(drawing)) for network, drawing in zip(networks, drawings, strict=True)]


def load_curves(parts: ServerParts, networks: Sequence[Compared]) -> Curves:
    """Return the curves of the trials that found the networks, each under the network's name."""
    trials: list[TrialRecord] = []
    figures: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for network in networks:
        trial = _find_origin(parts, parts.store.get_trial(network.record.trial_id))
        trials.append(replace(trial, name=network.label))
        figures.update(parts.store.list_metrics(trial.job_id, trial_id=trial.id))
    return build_curves(trials, figures)


def _find_origin(parts: ServerParts, trial: TrialRecord) -> TrialRecord:
    """Return the trial that ran: the one whose result a trial shares, or itself."""
    return trial if trial.reused_from is None else parts.store.get_trial(trial.reused_from)
