"""The page of one network in a real browser: figures of the API, all by keyboard, the search moved through."""

from __future__ import annotations

import ast
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from db.questions import JobQuery, WorkerHello
from db.records.jobs import Resources
from db.records.states import JobKind
from search.method.routing import Routing, RoutingRecord
from service.dashboard.formats import count, figure

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response

    from db.records.jobs import ClaimedTrial
    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site, Watch

CONTENT = b"onnx" * 500
SHOWN = ("digits", "scenes", "deep", "untrained", "sharp")
STATIONS = "#tree .node"


def build_routing(document: Mapping[str, Any], num_records: int = 11) -> Routing:
    """Return a search that was sure of nothing at first and of everything in the end."""
    tasks, records = document["tasks"], []
    for index in range(num_records):
        sure = index / (num_records - 1)
        layers = []
        for layer in document["layers"]:
            own = {task: tasks.index(group[0]) for group in layer["groups"] for task in group}
            share = (1 - sure) / len(tasks)
            layers.append([[round(share + sure * (k == own[t]), 4) for k in range(len(tasks))] for t in tasks])
        record = {"step": 20 * index, "epoch": 2 * index, "temperature": 5 - sure, "probabilities": layers}
        records.append(RoutingRecord.model_validate(record))
    names = tuple(layer["name"] for layer in document["layers"])
    return Routing(layers=names, tasks=tuple(tasks), records=tuple(records))


def leave_all(site: Site, claimed: ClaimedTrial, result: dict[str, Any]) -> None:
    """Leave what a trial of this version leaves: routing, pictures, details of metrics, latency."""
    picture = io.BytesIO()
    Image.new("RGB", (980, 300), (90, 120, 150)).save(picture, "PNG")
    for name in ("predictions.png", *(f"predictions-{task}.png" for task in result["metrics"] or {})):
        site.put_file(claimed, name, picture.getvalue())
    if claimed.trial.kind == "candidate":
        site.put_file(claimed, "routing.json", build_routing(result["architecture"]).to_json_bytes())
    result["latency"] = {"latency_ms": 1.5, "device": "a processor", "threads": 2, "num_passes": 30}
    better = 1.0 if claimed.trial.kind == "candidate" else 0.0
    for metric in (result["metrics"] or {}).values():
        rows = [{"name": f"class {index}", "value": 50.0 + better * (index - 1)} for index in range(3)]
        metric["details"] = {"per_class": rows, "figures": [{"name": "mean", "value": 0.5, "unit": "px"}]}


@pytest.fixture(scope="module")
def networks(site: Site, seed_search: SeedSearch) -> dict[str, str]:
    """Return the id of a network per kind: with four, six and two tasks, 34 layers deep, untrained, without files."""
    four = ("left", "right", "left_group", "right_group")
    scenes: dict[str, Any] = {"dataset": "scenes", "tasks": None}
    jobs = {
        "digits": seed_search(site, "digits", tasks=four, leave=leave_all),
        "scenes": seed_search(site, "scenes", **scenes, backbone="mobilenet_v2", budgets=["70%"], leave=leave_all),
        "deep": seed_search(site, "deep", **scenes, backbone="resnet101", budgets=["50%"], leave=leave_all),
        "untrained": seed_search(site, "untrained", retrain=False),
        "sharp": seed_search(site, "sharp", budgets=["80%"], seeds=[5]),
    }
    return {name: site.store.list_front_rows(job_id=job.id, study_key=None)[0].id for name, job in jobs.items()}


@pytest.fixture(scope="module")
def read(site: Site) -> Callable[[str], Any]:
    """Return a function that asks the API."""

    def ask(path: str) -> Any:
        with site.ask("viewer") as client:
            return client.get(f"/api/v1{path}").raise_for_status().json()

    return ask


def show(page: Page, architecture_id: str, query: str = "") -> None:
    """Open the page of a network and wait until it is ready."""
    page.goto(f"/architectures/{architecture_id}{query}")
    page.locator("main[data-state=ready]").wait_for()


def read_numbers(found: Locator, attribute: str) -> list[int]:
    """Return a number per element."""
    return [int(str(one.get_attribute(attribute))) for one in found.all()]


@pytest.mark.parametrize("name", SHOWN)
def test_the_tree_has_the_numbers_of_the_api(
    name: str, page: Page, networks: dict[str, str], read: Callable[[str], Any]
) -> None:
    """A station per layer and group, and all parts together cost what the API says."""
    show(page, networks[name])
    found = read(f"/architectures/{networks[name]}")
    document = found["document"]
    assert page.locator(STATIONS).count() == sum(len(layer["groups"]) for layer in document["layers"])
    assert sum(read_numbers(page.locator("#tree [data-row]"), "data-madds")) == found["madds"]
    labels = [text.partition(":")[0] for text in page.locator(f"{STATIONS} title").all_text_contents()]
    expected = [f"{layer['name']}, {' + '.join(group)}" for layer in document["layers"] for group in layer["groups"]]
    assert labels == expected
    assert page.locator("#madds").inner_text().startswith(count(found["madds"]))
    assert page.locator("#params").get_attribute("data-params") == str(found["params"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["scenes", "untrained"])
def test_axe_finds_nothing(
    name: str, scheme: str, new_page: NewPage, networks: dict[str, str], check_axe: CheckAxe
) -> None:
    """With everything unfolded, in both themes."""
    page = new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    show(page, networks[name])
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.locator("#walk-tree").click()
    check_axe(page)


def test_the_keyboard_reaches_the_figures_of_every_station(page: Page, networks: dict[str, str]) -> None:
    """`w` goes into the tree; arrow keys visit each station, which tells its figures."""
    show(page, networks["digits"])
    page.keyboard.press("w")
    page.keyboard.press("Home")
    told = set()
    num_rows = 1 + max(read_numbers(page.locator("#tree [data-row]"), "data-row"))
    for _ in range(num_rows):
        for key in ("ArrowLeft",) * 4 + ("ArrowRight",) * 4:
            told.add(page.locator("#station").inner_text())
            page.keyboard.press(key)
        page.keyboard.press("ArrowDown")
    assert told == set(page.locator("#tree [data-row] title").all_text_contents())


def test_pointing_lights_the_strands_of_a_station(page: Page, networks: dict[str, str]) -> None:
    """The tasks of the station stand out, and the words come back when the pointer leaves."""
    show(page, networks["digits"])
    page.locator(STATIONS).last.hover()
    assert page.locator("#tree .strand.lit").count() == 1
    assert "MAdds" in page.locator("#station").inner_text()
    page.locator("h1").hover()
    assert page.locator("#station").inner_text().startswith("Point at a station")


def test_the_search_is_moved_through_by_keyboard(
    page: Page, networks: dict[str, str], read: Callable[[str], Any]
) -> None:
    """The bars are the API's probabilities at the moment that is chosen, which stands in the address."""
    show(page, networks["digits"])
    end = page.locator("#routing .bars").first.get_attribute("d")
    page.keyboard.press("m")
    page.keyboard.press("Home")
    assert page.locator("#moment-words").inner_text() == "epoch 0, step 0, temperature 5.00"
    assert page.locator("#routing .bars").first.get_attribute("d") != end
    assert str(page.locator("#routing .bars").first.get_attribute("d")).count("v-4.5") == 4
    page.keyboard.press("ArrowRight")
    record = read(f"/architectures/{networks['digits']}/files/routing.json")["records"][1]
    title = str(page.locator("#routing .routing-layer title").first.text_content())
    assert f"left copy 1 ({100 * record['probabilities'][0][0][0]:.0f} %)" in title
    assert "epoch=2" in page.url
    page.reload()
    page.locator("main[data-state=ready]").wait_for()
    assert page.locator("#moment").input_value() == "1"
    page.locator("#moment").focus()
    page.keyboard.press("End")
    assert page.locator("#routing .bars").first.get_attribute("d") == end


def test_playing_ends_at_the_end(page: Page, networks: dict[str, str]) -> None:
    """The search can be watched from its start."""
    show(page, networks["digits"])
    page.locator("#play").click()
    expect(page.locator("#moment")).to_have_value("10", timeout=10_000)
    page.locator("#play[aria-label^='Play']").wait_for()
    assert "the end" in page.locator("#moment-words").inner_text()


def test_without_javascript_the_page_is_whole(
    new_page: NewPage, networks: dict[str, str], read: Callable[[str], Any]
) -> None:
    """The drawing at the end of the search, outline, figures, metrics and downloads are there."""
    page = new_page(java_script_enabled=False)
    page.goto(f"/architectures/{networks['scenes']}")
    document = read(f"/architectures/{networks['scenes']}")["document"]
    assert page.locator("#tree svg").is_visible()
    assert page.locator("#routing svg").is_visible()
    page.locator("#tree-words summary").click()
    assert page.locator("#outline li").filter(has_text="head of depth").first.is_visible()
    assert page.locator(".stations tbody tr").count() == sum(len(layer["groups"]) for layer in document["layers"])
    assert page.locator("tr[data-task]").count() == 6
    assert not page.locator("#moment").is_visible()
    assert page.get_by_role("link", name="Download JSON").is_visible()


def test_metrics_are_those_of_the_api_and_signed(
    page: Page, networks: dict[str, str], read: Callable[[str], Any]
) -> None:
    """Each gain has a sign and a mark, so that no colour is needed; classes and side figures stand with it."""
    show(page, networks["scenes"])
    for task, metric in read(f"/architectures/{networks['scenes']}")["metrics"].items():
        row = page.locator(f"tr[data-task='{task}']")
        assert row.locator("td").first.inner_text() == figure(metric["value"])
        gain = row.locator(".gain").inner_text()
        assert gain[:2] in {"▲ ", "▼ ", "= "}
        assert "mean 0.5000 px" in row.inner_text()
    page.locator(".classes summary").first.click()
    marks = [text[0] for text in page.locator(".classes").first.locator(".gain").all_inner_texts()]
    assert marks == ["▼", "=", "▲"]


def test_pictures_are_those_of_the_network(page: Page, networks: dict[str, str]) -> None:
    """The sheet of all tasks is shown, those of single tasks open below it."""
    show(page, networks["scenes"])
    image = page.locator(".pictures figure img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("async (one) => { await one.decode(); return one.naturalWidth; }") == 980
    assert page.locator(".picture summary").count() == 6


def test_an_export_is_asked_for_followed_and_offered(page: Page, site: Site, networks: dict[str, str]) -> None:
    """By keyboard: the button, then progress, then a link with size, checksum, opset and the numeric check."""
    show(page, networks["digits"])
    page.locator("#ask-onnx").press("Enter")
    page.locator("tr[data-format=onnx] progress").wait_for()
    finish_export(site, "onnx")
    link = page.get_by_role("link", name="Download ONNX")
    link.wait_for(timeout=8000)
    row = page.locator("tr[data-format=onnx]").inner_text()
    assert all(part in row for part in ("opset 18", "2.4e-07", "2.00 KB", hashlib.sha256(CONTENT).hexdigest()))
    assert page.locator("#export-status").text_content() == "The onnx file is ready."
    with page.expect_download() as download:
        link.press("Enter")
    assert Path(download.value.path()).read_bytes() == CONTENT


def test_an_export_can_be_asked_for_without_javascript(new_page: NewPage, site: Site, networks: dict[str, str]) -> None:
    """The form of the page is enough, and the page shows how far it is."""
    page = new_page(java_script_enabled=False)
    page.goto(f"/architectures/{networks['scenes']}")
    page.locator("#ask-pt2").click()
    page.wait_for_url("**/architectures/*#downloads")
    assert "waits for a worker" in page.locator("tr[data-format=pt2]").inner_text()
    finish_export(site, "pt2")
    page.reload()
    assert page.get_by_role("link", name="Download pt2").is_visible()


@pytest.mark.parametrize(("file_format", "path"), [("svg", "tree.svg"), ("json", "architecture.json")])
def test_the_tree_is_downloaded_by_keyboard(
    page: Page, site: Site, networks: dict[str, str], file_format: str, path: str
) -> None:
    """Enter on its link brings what the API has, under the name of the network."""
    show(page, networks["scenes"])
    with page.expect_download() as download:
        page.locator(f"#download-{file_format}").press("Enter")
    assert download.value.suggested_filename == f"{networks['scenes']}.{file_format}"
    with site.ask("viewer") as client:
        content = client.get(f"/api/v1/architectures/{networks['scenes']}/{path}").content
    assert Path(download.value.path()).read_bytes() == content


def finish_export(site: Site, file_format: str) -> None:
    """Write the export that waits as a worker does."""
    assert [job for job in site.store.list_jobs(JobQuery(kinds=(JobKind.EXPORT,))) if not job.state.is_terminal]
    hello = WorkerHello("worker-2", "exporter", site.settings.code_version, Resources(cpus=64, gpus=8))
    claim = site.store.claim(hello, lease_seconds=3600, max_trials=1)
    assert claim is not None
    claimed = claim.trials[0]
    site.put_file(claimed, f"network.{file_format}", CONTENT)
    result = {
        "format": file_format,
        "file": f"network.{file_format}",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
        "opset": 18 if file_format == "onnx" else None,
        "largest_difference": 2.4e-7,
        "outputs": [],
    }
    site.store.complete(claimed.attempt.id, result, None, score=lambda *_: 0.0)


def test_a_reader_is_offered_no_export(new_page: NewPage, networks: dict[str, str]) -> None:
    """Who may not submit is told who may; the tree can be had all the same."""
    page = new_page("viewer")
    show(page, networks["sharp"])
    assert page.locator("#downloads button:visible").all_inner_texts() == ["Copy"]
    assert page.locator("tr[data-format=onnx]").inner_text().count("an operator can ask for it") == 1
    assert page.get_by_role("link", name="Download JSON").is_visible()


def test_what_is_not_there_is_said(page: Page, networks: dict[str, str]) -> None:
    """A network without training, routing and pictures has a page as well."""
    show(page, networks["untrained"])
    text = page.locator("main").inner_text()
    assert "not trained" in text
    assert "only a trained network can be written" in text
    assert "No pictures were kept" in text
    assert "routing probabilities are there for" in text


def test_the_snippet_is_python_and_names_the_outputs_in_order(page: Page, networks: dict[str, str]) -> None:
    """What is copied can be run beside the downloaded file."""
    show(page, networks["scenes"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy-snippet").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    names = next(node for node in ast.walk(ast.parse(copied)) if isinstance(node, ast.List))
    assert ast.literal_eval(names) == ["semseg", "parts", "sal", "normals", "depth", "edge"]
    assert "np.zeros((1, 3, 128, 128), dtype=np.float32)" in copied


def test_the_checksum_is_that_of_the_download(page: Page, site: Site, networks: dict[str, str]) -> None:
    """architecture.json has the SHA-256 that the page shows."""
    show(page, networks["deep"])
    path = str(page.locator("#download-json").get_attribute("href"))
    with site.ask("viewer") as client:
        content = client.get(path).content
    assert page.locator("tr[data-format=json] .sha").inner_text() == hashlib.sha256(content).hexdigest()


def test_links_lead_to_search_study_and_comparison(page: Page, site: Site, networks: dict[str, str]) -> None:
    """A network is never a dead end."""
    show(page, networks["digits"])
    record = site.store.get_architecture(networks["digits"])
    hrefs = page.locator("main a").evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")
    assert f"/searches/{record.job_id}" in hrefs
    assert f"/studies/{record.study_key}" in hrefs
    others = {row.id for row in site.store.list_front_rows(job_id=None, study_key=record.study_key)} - {record.id}
    assert {f"/compare?ids={record.id},{other}" for other in others} <= set(hrefs)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_scrolls_sideways_and_none_is_heavy(
    width: int, new_page: NewPage, networks: dict[str, str], has_no_sideways_scroll: Callable[[Page], bool]
) -> None:
    """Wide drawings scroll in their own box, also at 400 % zoom; all that is loaded weighs under 300 kB."""
    page = new_page(viewport={"width": width, "height": 800})
    sizes: list[tuple[int, int]] = []

    def weigh(response: Response) -> None:
        sizes.append((len(response.body()), int(response.headers.get("content-length") or 0)))

    page.on("response", weigh)
    for name in ("scenes", "deep"):
        sizes.clear()
        show(page, networks[name])
        assert has_no_sideways_scroll(page)
        unpacked, wire = (sum(column) for column in zip(*sizes, strict=True))
        print(f"{name}: {wire / 1e3:.0f} kB over the wire, {unpacked / 1e3:.0f} kB unpacked")  # noqa: T201
        assert unpacked < 300_000
        assert wire < 100_000


def test_an_unknown_network_is_a_page_with_the_request_id(page: Page, watch: Watch) -> None:
    """What is not there is said in words."""
    watch.forgive("404")
    page.goto("/architectures/arch_nothing")
    assert "req_" in page.locator("body").inner_text()
