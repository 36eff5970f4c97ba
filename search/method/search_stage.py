"""The stage that finds a network: a search under one budget, its tree and its learning curves left in one folder.

`search.method.bilevel` does the work; whoever wants the network trained hands it on to `training_stage`. A folder holds
architecture.json and search.pt, and while the search runs search-N.state of its Nth start.
"""

from __future__ import annotations

from models.backbones import get_backbone
from models.supergraph import Supergraph
from search.architecture import Architecture
from search.data.loading import LoadedData
from search.errors import RunCancelledError
from search.method.bilevel import BilevelSearch, SearchProblem
from search.method.restarts import forget_starts, search_best
from search.ports import StageFinished
from search.study import OpenStudy, check_same_study, describe_tree
from search.training.run_state import save_state
from search.training.training_stage import load_samples
from search.weights import begin_from

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
    document, num_starts = f"{folder}architecture.json", study.spec.search.starts
    if around.store.exists(document):
        architecture = Architecture.from_json_bytes(around.store.read(document), document)
        check_same_study(study, architecture, document)
        forget_starts(around.store, folder, num_starts)  # a kill may have come between the document and this
        around.reporter.emit(StageFinished(stage, {"madds": float(architecture.madds)}, reused=True))
        return architecture
    spec = study.spec
    problem = SearchProblem(spec.search, spec.objective, study.tasks, study.costs, budget_madds, spec.seed)
    data = _load_search_data(study)
    outcome = search_best(
        problem,
        lambda started: BilevelSearch(
            started,
            lambda: _build_supergraph(study),
            data.train,
            study.ground.compute,
        ),
        surroundings=around,
        folder=folder,
        stage=stage,
    )
    if outcome is None:
        raise RunCancelledError
    kept = {"arch_logits_LTK": outcome.arch_logits_LTK, "history": list(outcome.history)}
    save_state(around.store, f"{folder}{SEARCHED_NAME}", kept)
    architecture = describe_tree(study, outcome.branching, budget_madds)
    around.store.write(document, architecture.to_json_bytes())
    forget_starts(around.store, folder, num_starts)
    return architecture


def _build_supergraph(study: OpenStudy) -> Supergraph:
    """Return the network that is searched, with random weights or those that the job starts from."""
    ground = study.ground
    network = Supergraph(get_backbone(study.spec.backbone), study.heads, ground.info.image_channels)
    begin_from(network, ground.weights, ground.around.reporter)
    return network


def _load_search_data(study: OpenStudy) -> LoadedData:
    """Return the samples at the resolution that the job searches at."""
    ground, scale = study.ground, study.spec.search.resolution_scale
    if scale == 1.0:
        return ground.data
    return load_samples(ground.info, study.tasks, study.spec.data, ground.around, resolution_scale=scale)
