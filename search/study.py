"""A study at hand: a job checked, priced and with its samples loaded, and what its documents say of it.

The documents are the provenance of every tree in architecture.json and the head of results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from models.branching import Branching
from models.catalogue import HeadSpec
from models.foreign import find_package
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.costs.cost_table import CostTable
from search.costs.lut import measure_costs
from search.data.catalogue import TaskInfo, resolve_tasks
from search.errors import BudgetError, ResumeError
from search.judging.tasks import KINDS
from search.networks import choose_compute
from search.ports import Message, Reporter, Surroundings
from search.results import Study, StudyCosts, StudyTask
from search.spec import JobSpec, budget_name, resolve_budget
from search.training.training_stage import TrainingGround, find_dataset, load_samples
from search.weights import open_weights


@dataclass(frozen=True)
class OpenStudy:
    """A job with everything it needs at hand.

    Attributes:
        spec: The job.
        tasks: Its T tasks in the dataset's order.
        costs: What each part of a network over these tasks costs.
        budgets: MAdds of every budget, by the name of its candidate.
        ground: What networks are trained on.
    """

    spec: JobSpec
    tasks: tuple[TaskInfo, ...]
    costs: CostTable
    budgets: Mapping[str, int]
    ground: TrainingGround

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """Return what each task asks of its head."""
        return {task.name: HeadSpec(KINDS[task.kind].dense, task.channels) for task in self.tasks}


def open_study(spec: JobSpec, surroundings: Surroundings) -> OpenStudy:
    """Return the study of a job; writes nothing to the store.

    Raises:
        SearchError, ModelsError: The job cannot be run as asked.
        RunCancelledError: It was asked to stop while samples were prepared.
    """
    compute = choose_compute(surroundings)
    info = find_dataset(spec.dataset, spec.data.definition, surroundings)
    tasks = resolve_tasks(info, spec.tasks)
    costs = measure_costs(spec.backbone, tasks, spec.data.input_size, info.image_channels, surroundings.cache_dir)
    budgets = {budget_name(budget): _check_budget(budget, costs, surroundings.reporter) for budget in spec.budgets}
    weights = open_weights(spec.weights, spec.backbone, surroundings.weights)
    data = load_samples(info, tasks, spec.data, surroundings)  # after all that can be refused: it may take minutes
    ground = TrainingGround(info, data, spec.retrain, spec.preset, spec.seed, compute, surroundings, weights)
    return OpenStudy(spec, tasks, costs, budgets, ground)


def describe_tree(study: OpenStudy, branching: Branching, budget_madds: int | None) -> Architecture:
    """Return the document of a tree.

    Args:
        study: The study it is of.
        branching: The tree, over all tasks of the study or some of them.
        budget_madds: What it was searched under; None for a baseline.
    """
    tasks = tuple(task for task in study.tasks if task.name in branching.tasks)
    return Architecture(
        tasks=tuple(task.name for task in tasks),
        backbone=study.spec.backbone,
        input_size=study.spec.data.input_size,
        image_channels=study.ground.info.image_channels,
        layers=layers_of(branching, study.costs.layer_names),
        heads=heads_of(tasks),
        madds=study.costs.madds(branching),
        params=study.costs.params(branching),
        budget_madds=budget_madds,
        provenance=Provenance(
            dataset=study.spec.dataset,
            dataset_fingerprint=study.ground.data.fingerprint,
            seed=study.spec.seed,
            objective=study.spec.objective,
            spec_hash=study.spec.spec_hash,
            code_version=version("bmtas"),
            created=study.ground.around.now().isoformat(timespec="seconds"),
            weights=study.spec.weights,
        ),
        backbone_package=find_package(study.spec.backbone),
    )


def describe_baseline(study: OpenStudy, tasks: Sequence[str]) -> Architecture:
    """Return the document of the network in which these tasks of the study share everything but their heads."""
    return describe_tree(study, Branching.shared(tasks, len(study.costs.layer_madds)), None)


def check_same_study(study: OpenStudy, architecture: Architecture, document: str) -> None:
    """Refuse to go on with a file that another job or other data left.

    Raises:
        ResumeError: It is such a file.
    """
    found = architecture.provenance
    if (found.spec_hash, found.dataset_fingerprint) != (study.spec.spec_hash, study.ground.data.fingerprint):
        raise ResumeError(
            f"{document} was written by another job or on other data than '{study.spec.dataset}' holds now. "
            "Choose an empty output folder."
        )


def describe_study(study: OpenStudy) -> Study:
    """Return what results.json says of the study."""
    spec, costs = study.spec, study.costs
    return Study(
        dataset=spec.dataset,
        dataset_fingerprint=study.ground.data.fingerprint,
        tasks={
            task.name: StudyTask(
                kind=task.kind,
                channels=task.channels,
                metric=KINDS[task.kind].metric,
                higher_is_better=KINDS[task.kind].higher_is_better,
            )
            for task in study.tasks
        },
        backbone=spec.backbone,
        input_size=spec.data.input_size,
        image_channels=study.ground.info.image_channels,
        preset=spec.preset,
        seed=spec.seed,
        objective=spec.objective,
        spec_hash=spec.spec_hash,
        code_version=version("bmtas"),
        created=study.ground.around.now().isoformat(timespec="seconds"),
        costs=StudyCosts.of(costs),
        weights=spec.weights,
    )


def _check_budget(budget: str, costs: CostTable, reporter: Reporter) -> int:
    """Return the MAdds of a budget; refuse one below the fully shared network, remark on one that is too wide."""
    madds = resolve_budget(budget, costs.single_madds)
    if madds < costs.shared_madds:
        # One digit more and rounded up, so that the percentage named is itself feasible.
        percent = -(-costs.shared_madds * 1000 // costs.single_madds) / 10
        raise BudgetError(
            f"The budget {budget} allows {madds} MAdds, but sharing everything already costs {costs.shared_madds}. "
            f"Ask for at least {costs.shared_madds} MAdds ({percent:g}% of the single-task total)."
        )
    if madds > costs.single_madds:
        reporter.emit(
            Message(
                f"The budget {budget} ({madds} MAdds) does not bind: separate networks cost {costs.single_madds} "
                f"and the dearest tree {costs.split_madds} MAdds."
            )
        )
    return madds
