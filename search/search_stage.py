"""The stage that finds a network: a search under one budget, its tree and its learning curves left in one folder.

`search.bilevel` does the work; whoever wants the network trained hands it on to `training_stage`. A folder holds
architecture.json and search.pt, and while the search runs search.state.
"""

from __future__ import annotations

from models.backbones import get_backbone
from models.supergraph import Supergraph
from search.architecture import Architecture
from search.bilevel import BilevelSearch, SearchProblem
from search.data.loading import load_data
from search.errors import RunCancelledError
from search.ports import StageFinished
from search.run_state import save_state
from search.study import OpenStudy, check_same_study, describe_tree

SEARCHED_NAME = "search.pt"


def search_architecture(study: OpenStudy, folder: str, stage: str, budget_madds: int) -> Architecture:
    """Return the architecture that a search under one budget delivers, from the store where it is found there.

    Args:
        study: The study it is of.
        folder: Prefix of its files in the store, with the slash at its end; empty for the store's root.
        stage: What events call this.
        budget_madds: What the network may cost.

    Raises:
        ResumeError: The folder holds the network of another job.
        RunCancelledError: It was asked to stop; its state is saved.
    """
    around = study.ground.around
    document, state_name = f"{folder}architecture.json", f"{folder}search.state"
    if around.store.exists(document):
        architecture = Architecture.from_json_bytes(around.store.read(document), document)
        check_same_study(study, architecture, document)
        around.store.delete(state_name)  # a kill may have come between the document and this
        around.reporter.emit(StageFinished(stage, {"madds": float(architecture.madds)}, reused=True))
        return architecture
    outcome = _build_search(study, budget_madds).run(
        store=around.store,
        state_name=state_name,
        stage=stage,
        reporter=around.reporter,
        cancelled=around.cancelled,
        seconds_between_saves=around.seconds_between_saves,
    )
    if outcome is None:
        raise RunCancelledError
    kept = {"arch_logits_LTK": outcome.arch_logits_LTK, "history": list(outcome.history)}
    save_state(around.store, f"{folder}{SEARCHED_NAME}", kept)
    architecture = describe_tree(study, outcome.branching, budget_madds)
    around.store.write(document, architecture.to_json_bytes())
    around.store.delete(state_name)
    return architecture


def _build_search(study: OpenStudy, budget_madds: int) -> BilevelSearch:
    """Return the search under one budget, on the samples at the resolution that the job searches at."""
    spec, ground = study.spec, study.ground
    scale, data = spec.search.resolution_scale, ground.data
    if scale != 1.0:
        data = load_data(ground.info, study.tasks, spec.data, resolution_scale=scale, cache_dir=ground.around.cache_dir)
    return BilevelSearch(
        SearchProblem(spec.search, spec.objective, study.tasks, study.costs, budget_madds, spec.seed),
        lambda: Supergraph(get_backbone(spec.backbone), study.heads, ground.info.image_channels),
        data.train,
        ground.device,
    )
