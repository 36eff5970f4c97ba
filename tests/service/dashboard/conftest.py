"""A real server with results in its store, and a real browser that forgives nothing.

No console error or warning, no CSP report, no request off the origin: each of them fails the test that saw it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from db.questions import QueueLimits, WorkerHello
from db.records.jobs import Claim, ClaimedTrial, JobRecord, MetricPoint, Progress, Resources
from db.records.results import NewArchitecture
from db.records.states import Reason
from db.sql.store import SqlStore, open_store
from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.costs.cost_table import compute_costs
from search.data.catalogue import DATASETS, resolve_tasks
from search.data.shelf import BUILT_IN
from search.delta import score_documents
from search.weights_shelf import EMPTY_SHELF
from service.app import create_app
from service.schemas.requests import SearchBody
from service.server_settings import EventLimits, ServerSettings
from service.web.planning.backbone_offers import BackboneOffers
from service.web.planning.jobs import plan_search_job
from service.web.planning.offers import Offers
from service.web.token_format import make_token

VERSION = "9.9.9"
OWNERS = {"viewer": "vera", "operator": "olga", "admin": "adam"}
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
LOWER_IS_BETTER = {"depth": "rmse", "normals": "mean angle"}


@dataclass
class Site:
    """A running server with its database.

    Attributes:
        address: "http://127.0.0.1:PORT".
        store: Its database.
        settings: How it behaves; new with every start.
        tokens: Access token per role.
        code_version: What the server says it is; workers of another version are refused.
        folder: Its files lie under `folder / "storage"`.
    """

    folder: Path
    store: SqlStore
    port: int
    settings: ServerSettings = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)
    code_version: str = VERSION
    _running: tuple[uvicorn.Server, threading.Thread] | None = None

    @property
    def address(self) -> str:
        """Return where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server on its port."""
        self.settings = ServerSettings(
            storage_root=str(self.folder / "storage"),
            data_dir=self.folder,
            datasets_dir=self.folder / "datasets",
            weights_dir=self.folder / "weights",
            secret=b"planted-secret-of-the-server-0123456789",
            code_version=self.code_version,
            sweep_seconds=0.5,
            events=EventLimits(poll_seconds=0.1, ping_seconds=2.0),
        )
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(create_app(self.settings, self.store), log_config=None, access_log=False)
        web = uvicorn.Server(config)
        thread = threading.Thread(target=self._serve, args=(web, listener))
        thread.start()
        self._running = (web, thread)

    def stop(self) -> None:
        """Stop the server as a restart would: streams end, the port is free again."""
        if self._running is None:
            return
        web, thread = self._running
        self.settings.draining.set()
        web.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()
        self._running = None

    def put_file(self, claimed: ClaimedTrial, name: str, content: bytes) -> None:
        """Put a file of a trial under the storage root as a worker does."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"trials/{claimed.trial.id}/{claimed.attempt.number}/{name}.{sha256[:12]}"
        target = Path(self.settings.storage_root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        self.store.put_file(claimed.attempt.id, name, path, sha256, len(content))

    def ask(self, role: str = "operator") -> httpx.Client:
        """Return a client with the token of a role; the caller closes it."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)

    def _serve(self, web: uvicorn.Server, listener: socket.socket) -> None:
        with contextlib.closing(listener):
            web.run(sockets=[listener])


@dataclass
class Watch:
    """What must not happen in a browser, as it happened."""

    faults: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)

    def forgive(self, pattern: str) -> None:
        """Accept faults that a pattern is found in: those that the test provokes."""
        self.forgiven.append(pattern)

    def check(self) -> None:
        """Fail if something happened that was not forgiven."""
        left = [fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.forgiven)]
        assert left == []


NewPage = Callable[..., Page]
CheckAxe = Callable[[Page], None]


def find_chromium() -> str | None:
    """Return the Chromium of this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium."""
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is not installed (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ready_sqlite_file: Path) -> Iterator[Site]:
    """Return a server that the tests of a file share, its store empty at first."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ready_sqlite_file, folder / "bmtas.db")
    with ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(open_store(f"sqlite:///{folder / 'bmtas.db'}")))
        running = Site(folder, store, port=0)
        for role, owner in OWNERS.items():
            token = make_token(name=role, owner=owner, role=role, created_at=store.now())
            store.add_token(token.record)
            running.tokens[role] = token.text
        stack.callback(running.stop)
        running.start()
        yield running


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Return what must not happen in the pages of this test; at the end it fails if it did."""
    seen = Watch()
    yield seen
    seen.check()


@pytest.fixture
def new_page(browser: Browser, site: Site, watch: Watch) -> Iterator[NewPage]:
    """Return a function that opens a page as a role (None for nobody); keywords go to the browser's context."""
    with ExitStack() as stack:

        def open_page(role: str | None = "operator", **options: Any) -> Page:
            """Open one."""
            context = browser.new_context(base_url=site.address, **{"reduced_motion": "reduce", **options})
            stack.callback(context.close)
            context.set_default_timeout(15_000)
            page = context.new_page()
            _watch(page, site, watch)
            if role is not None:
                sign_in(page, site.tokens[role])
            return page

        yield open_page


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """Return a page of a signed-in operator, 1280 by 900 pixels."""
    return new_page(viewport={"width": 1280, "height": 900})


@pytest.fixture(scope="session")
def check_axe() -> CheckAxe:
    """Return a function that fails on any accessibility violation axe finds on a page."""
    package = find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "axe.min.js").read_text("utf-8")

    def check(page: Page) -> None:
        """Check one."""
        page.evaluate(source)
        found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
        told = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}" for one in found]
        assert told == []

    return check


def _watch(page: Page, site: Site, watch: Watch) -> None:
    """Note what must not happen."""

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watch.faults.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def on_request(request: Request) -> None:
        if not request.url.startswith((site.address, "data:", "blob:")):
            watch.faults.append(f"off the origin: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watch.faults.append(f"error: {error}"))
    page.on("request", on_request)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) =>"
        " console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI))"
    )


@pytest.fixture(scope="session")
def has_no_sideways_scroll() -> Callable[[Page], bool]:
    """Return a function that tells whether a page as a whole fits the width of its window."""
    return lambda page: bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def sign_in(page: Page, token: str) -> None:
    """Sign in by the form."""
    page.goto("/sign-in")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


# ---- results, put into the store as a worker would --------------------------------------------------------------


SeedSearch = Callable[..., JobRecord]
Leave = Callable[[Site, ClaimedTrial, dict[str, Any]], None]


@pytest.fixture(scope="session")
def seed_search() -> SeedSearch:
    """Return `seed_search(site, **how)`, which makes a search with all that its trials leave; see `make_search`."""
    return make_search


def make_search(  # noqa: PLR0917 - what tests wish for
    site: Site,
    name: str = "a search",
    dataset: str = "digits",
    tasks: Sequence[str] | None = ("left", "right"),
    backbone: str = "tiny4",
    budgets: Sequence[str] = ("60%", "75%"),
    seeds: Sequence[int] = (0,),
    owner: str = OWNERS["operator"],
    labels: Mapping[str, str] | None = None,
    outcome: str = "succeeded",
    value: Callable[[str, str], float | None] | None = None,
    retrain: bool = True,
    leave: Leave | None = None,
) -> JobRecord:
    """Return a new search.

    `outcome` is "succeeded", "failed" (every trial diverged), "running" (claimed, half way) or "queued". `value` gives
    (trial name, task) -> metric on validation; without it they are plausible and grow with the budget. Without
    `retrain` candidates have no metrics. `leave` is called before a trial ends and may put files and add to its result.
    """
    body = SearchBody(
        name=name,
        dataset=dataset,
        backbone=backbone,
        budgets=list(budgets),
        seeds=list(seeds),
        tasks=None if tasks is None else list(tasks),
        preset="smoke",
        labels=dict(labels or {}),
        retrain=retrain,
        priority=0 if outcome == "queued" else 100,
    )
    planned = plan_search_job(
        body, Offers(BUILT_IN, EMPTY_SHELF, BackboneOffers(site.store, None)), owner=owner, code_version=VERSION
    )
    job, _ = site.store.submit(planned.job, limits=QueueLimits())
    if outcome == "queued":
        return job
    while (claim := claim_work(site)) is not None:
        for claimed in claim.trials:
            if outcome == "running":
                leave_running(site, claimed)
            elif outcome == "failed":
                site.store.fail(claimed.attempt.id, Reason.DIVERGED, "The loss became infinite in epoch 3.")
            else:
                finish_trial(site, claimed, value=value, retrain=retrain, leave=leave)
        if claim.job.id == job.id and outcome == "running":
            break
    return site.store.get_job(job.id)


def claim_work(site: Site) -> Claim | None:
    """Return what waits with the highest priority, as a worker gets it; None when nothing of a test's own waits."""
    hello = WorkerHello("worker-1", "test worker", VERSION, Resources(cpus=64, gpus=8))
    claim = site.store.claim(hello, lease_seconds=3600, max_trials=100)
    if claim is not None and claim.job.priority < 100:
        for claimed in claim.trials:
            site.store.release(claimed.attempt.id, Reason.WORKER_STOPPED, "")
        return None
    return claim


def leave_running(site: Site, claimed: ClaimedTrial) -> None:
    """Let a trial be half way, with figures and lines."""
    trial, attempt = claimed.trial, claimed.attempt
    site.store.heartbeat(attempt.id, lease_seconds=3600, progress=Progress("search", 5, 10))
    site.store.add_metrics(attempt.id, describe_curves(trial.spec, num_epochs=5))
    site.store.add_logs(attempt.id, [f"{trial.name}: epoch {epoch} of 10" for epoch in range(1, 6)])


def finish_trial(
    site: Site,
    claimed: ClaimedTrial,
    *,
    value: Callable[[str, str], float | None] | None = None,
    retrain: bool = True,
    leave: Leave | None = None,
) -> None:
    """Complete a claimed trial as a trial process does."""
    trial, attempt = claimed.trial, claimed.attempt
    site.store.heartbeat(attempt.id, lease_seconds=3600, progress=Progress("retrain", 10, 10))
    site.store.add_metrics(attempt.id, describe_curves(trial.spec, num_epochs=10))
    site.store.add_logs(attempt.id, [f"{trial.name}: epoch {epoch} of 10" for epoch in range(1, 11)])
    architecture = grow_tree(trial.spec, trial.kind, trial.budget_madds)
    document = architecture.model_dump(mode="json")
    tasks = [str(trial.spec["task"])] if trial.kind == "single" else list(architecture.tasks)
    metrics = {task: measure(trial.name, task, value) for task in tasks} if retrain else None
    if metrics is not None and any(metric["value"] is None for metric in metrics.values()):
        metrics = None
    result: dict[str, Any] = {
        "architecture": document,
        "metrics": metrics,
        "madds": architecture.madds,
        "params": architecture.params,
    }
    if leave is not None:
        leave(site, claimed, result)
    found = None
    if trial.kind == "candidate":
        found = NewArchitecture(
            name=trial.name,
            document=document,
            fingerprint=architecture.fingerprint,
            tasks=architecture.tasks,
            backbone=architecture.backbone,
            dataset=architecture.provenance.dataset,
            madds=architecture.madds,
            params=architecture.params,
            budget_madds=trial.budget_madds,
            seed=trial.seed,
            metrics=metrics,
        )
    site.store.complete(attempt.id, {**result, "history": []}, found, score=score_documents)


def measure(trial_name: str, task: str, value: Callable[[str, str], float | None] | None) -> dict[str, Any]:
    """Return a metric as it stands in a result."""
    share = next((int(number) for number in re.findall(r"(\d+)pct", trial_name)), 70)
    lower = task in LOWER_IS_BETTER
    plain = (0.9 - 0.004 * share) if lower else 70 + 0.3 * share + (hash_of(task) % 5)
    number = plain if value is None else value(trial_name, task)
    return {"metric": LOWER_IS_BETTER.get(task, "accuracy"), "value": number, "higher_is_better": not lower}


def hash_of(text: str) -> int:
    """Return a small number that is the same in every run."""
    return sum(map(ord, text))


def grow_tree(spec: Mapping[str, Any], kind: str, budget_madds: int | None) -> Architecture:
    """Return the dearest tree within a budget whose tasks all part at one layer."""
    job = spec["job"] if "job" in spec else spec
    info = DATASETS[job["dataset"]]
    tasks = resolve_tasks(info, job["tasks"])
    names = tuple(task.name for task in tasks)
    size = tuple(job["data"]["input_size"])
    costs = compute_costs(job["backbone"], tasks, (size[0], size[1]), info.image_channels)
    num_layers = len(costs.layer_names)
    halves = (names[: (len(names) + 1) // 2], names[(len(names) + 1) // 2 :])
    apart = tuple((name,) for name in names)

    def part_at(layer: int) -> Branching:
        last = layer + (num_layers - layer) // 2 if len(names) > 2 else layer
        rows = [(names,) if i < layer else halves if i < last else apart for i in range(num_layers)]
        return Branching(names, tuple(rows))

    trees = [part_at(layer) for layer in range(num_layers + 1)]
    within = [tree for tree in trees if budget_madds is None or costs.madds(tree) <= budget_madds] or trees[-1:]
    tree = trees[-1] if kind in ("single", "shared") else within[0]
    return Architecture(
        tasks=names,
        backbone=job["backbone"],
        input_size=(size[0], size[1]),
        image_channels=info.image_channels,
        layers=layers_of(tree, costs.layer_names),
        heads=heads_of(tasks),
        madds=costs.madds(tree),
        params=costs.params(tree),
        budget_madds=budget_madds,
        provenance=Provenance(
            dataset=job["dataset"],
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version=VERSION,
            created="2026-01-31T12:00:00+00:00",
        ),
    )


def describe_curves(spec: Mapping[str, Any], *, num_epochs: int) -> list[MetricPoint]:
    """Return figures as a search and a retraining report them."""
    job = spec["job"] if "job" in spec else spec
    tasks = [str(spec["task"])] if spec.get("task") else list(job["tasks"])
    figures = {"search/expected_madds": 3e5, "search/temperature": 5.0, "search/resource_weight": 0.1}
    figures |= {f"{stage}/loss {task}": 2.0 for stage in ("search", "train") for task in tasks}
    return [
        MetricPoint(name, step, start / (1 + 0.2 * step))
        for name, start in figures.items()
        for step in range(num_epochs)
    ]
