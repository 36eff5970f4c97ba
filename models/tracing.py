"""A person's network as a dataflow graph by torch.fx, with the module and the source line of every step.

Modules that cannot be looked into (data-dependent control flow, state, another course in training) stay one step each,
as long as the network's own forward is none of them. Neighbours: `models.cutting` finds the places to cut.
"""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from models.errors import CutError
from models.foreign import describe_error

Kinds = frozenset[type[nn.Module]]
_OWN_FILES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True)
class Call:
    """One call of a module inside another.

    Attributes:
        path: Where the module lies in the network.
        first: Position of its first step in the graph.
        end: Position behind its last step.
        result: The step whose value it gave back; None where it gave several or none of its own.
    """

    path: str
    first: int
    end: int
    result: fx.Node | None


@dataclass
class Trace:
    """The steps of a network in the order in which they run.

    Attributes:
        module: The network.
        steps: All of them; the position in this list is what others go by.
        calls: The calls of modules, in the order in which they ended.
        owners: By step the path of the module whose forward took it, "" for the network itself.
        places: By step the file and line that took it.
    """

    module: nn.Module
    steps: tuple[fx.Node, ...] = ()
    calls: list[Call] = field(default_factory=list)
    owners: dict[fx.Node, str] = field(default_factory=dict)
    places: dict[fx.Node, tuple[str, int]] = field(default_factory=dict)

    def describe(self, step: fx.Node) -> str:
        """Return where a step is taken: module, file, line and what stands there."""
        owner = self.owners.get(step, "")
        file, line = self.places.get(step, ("", 0))
        where = f"in '{owner}'" if owner else "in its own forward"
        return f"{where}{_quote_line(file, line)}"


@dataclass(frozen=True)
class _Obstacle:
    """What kept a trace from going on: the module concerned ("" for the whole network) and a sentence about it."""

    path: str
    reason: str


def trace_network(module: nn.Module, closed_paths: frozenset[str] = frozenset()) -> tuple[Trace, Trace]:
    """Return what a network does in evaluation and in training; the two agree as far as `count_common` says.

    Args:
        module: The network; its modes and its state are left as they were.
        closed_paths: Modules that stay one step each.

    Raises:
        CutError: It takes several inputs, gives several outputs, or its own forward cannot be traced.
    """
    _check_inputs(module)
    closed: set[type[nn.Module]] = set()
    while True:
        traces = []
        for training in (False, True):
            with _mode(module, training=training):
                found = _attempt(module, lambda path, part: path in closed_paths or type(part) in closed)
            if isinstance(found, _Obstacle):
                _close(module, found, closed)
                break
            traces.append(found)
        else:
            owner = _find_owner(*traces)
            if not owner:
                return traces[0], traces[1]
            closed.add(type(module.get_submodule(owner)))


def retrace(module: nn.Module, is_closed: Callable[[str, nn.Module], bool]) -> tuple[Trace, Trace]:
    """Return what a network does in evaluation and in training, with the modules closed that a rule says."""
    traces = []
    for training in (False, True):
        with _mode(module, training=training):
            found = _attempt(module, is_closed)
        assert isinstance(found, Trace), found
        traces.append(found)
    return traces[0], traces[1]


def count_common(first: Trace, second: Trace) -> int:
    """Return how many steps two traces have in common before they part."""
    same = 0
    for one, other in zip(first.steps, second.steps, strict=False):
        if (one.op, str(one.target), str(one.args), str(one.kwargs)) != (
            other.op,
            str(other.target),
            str(other.args),
            str(other.kwargs),
        ):
            break
        same += 1
    return same


class _Tracer(fx.Tracer):
    """torch.fx's tracer, which also notes calls, owners and places, and gives the network its first input only."""

    def __init__(self, trace: Trace, is_closed: Callable[[str, nn.Module], bool]) -> None:
        super().__init__()
        self.kept, self.is_closed, self.open_paths = trace, is_closed, [""]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module stays one step."""
        return self.is_closed(module_qualified_name, m) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Return the forward and its image; all other arguments keep their defaults."""
        return root_fn, [self.root, self.create_proxy("placeholder", "image", (), {})]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Return a new step, its owner and its place noted."""
        node = super().create_node(*args, **kwargs)
        self.kept.owners[node] = self.open_paths[-1]
        place = _find_place(sys._getframe(1))
        if place is not None:
            self.kept.places[node] = place
        return node

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return the result of a call of a module, the call noted."""
        path = self.path_of_module(m)
        first, opened = len(self.graph.nodes), not self.is_leaf_module(m, path)
        if opened:
            self.open_paths.append(path)
        result = super().call_module(m, forward, args, kwargs)
        if opened:
            self.open_paths.pop()  # not on the way of an error, which is to find the module it came from
        given = result.node if isinstance(result, fx.Proxy) else None
        self.kept.calls.append(Call(path, first, len(self.graph.nodes), given))
        return result


def _attempt(module: nn.Module, is_closed: Callable[[str, nn.Module], bool]) -> Trace | _Obstacle:
    """Return the trace of a network in the mode it is in, or what stood in its way."""
    trace = Trace(module)
    tracer = _Tracer(trace, is_closed)
    before = {path: dict(part.__dict__) for path, part in module.named_modules()}
    buffers = {path: (buffer, buffer._version) for path, buffer in module.named_buffers()}
    try:
        graph = tracer.trace(module)
    except (Exception, SystemExit) as error:
        return _Obstacle(tracer.open_paths[-1], f"{describe_error(error)}{_quote_raised(error)}")
    finally:
        changed = _restore(module, before)
    if changed is not None:
        return _Obstacle(changed[0], f"its forward writes to self.{changed[1]}, a state that no graph holds")
    written = _restore_buffers(module, buffers)
    if written is not None:
        return _Obstacle(written.rpartition(".")[0], f"its forward writes to the buffer '{written}'")
    trace.steps = tuple(graph.nodes)
    return _find_loose_tensor(trace) or trace


def _find_loose_tensor(trace: Trace) -> _Obstacle | None:
    """Return where a tensor comes in that is neither computed from the image nor a parameter or buffer."""
    module = trace.module
    known = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    for step in trace.steps:
        if step.op == "get_attr" and step.target not in known:
            users = sorted(step.users, key=trace.steps.index)
            owner = trace.owners.get(users[0] if users else step, "")
            return _Obstacle(owner, "it uses a tensor that is neither parameter nor buffer" + _where(trace, users))
    return None


def _restore_buffers(module: nn.Module, before: dict[str, tuple[Tensor, int]]) -> str | None:
    """Put buffers back that a trace replaced and return the path of the first that was written to."""
    written = None
    for path, (buffer, version) in before.items():
        parent, _, name = path.rpartition(".")
        part = module.get_submodule(parent)
        if part._buffers[name] is not buffer or buffer._version != version:
            written = written or path
            part._buffers[name] = buffer
    return written


def _restore(module: nn.Module, before: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Undo what a trace wrote into modules and return the first module and attribute that its forward wrote to."""
    changed = None
    for path, part in module.named_modules():
        kept = before.get(path)
        if kept is None:
            continue
        for name in [*part.__dict__]:
            if name in kept and part.__dict__[name] is kept[name]:
                continue
            if not name.startswith("_tensor_constant"):
                changed = changed or (path, name)
            if name in kept:
                part.__dict__[name] = kept[name]
            else:
                del part.__dict__[name]
    return changed


def _close(module: nn.Module, obstacle: _Obstacle, closed: set[type[nn.Module]]) -> None:
    """Keep modules of a kind that cannot be looked into whole from now on; refuse where that is all of the network."""
    part = module.get_submodule(obstacle.path) if obstacle.path else module
    if not obstacle.path or type(part) in closed:
        raise CutError(
            f"A network is cut along the steps of its forward, but that of {type(part).__name__}"
            f"{f' ({obstacle.path})' if obstacle.path else ''} cannot be followed: {obstacle.reason}. "
            "Move that step into a submodule of its own, which then stays in one piece."
        )
    closed.add(type(part))


def _find_owner(one: Trace, other: Trace) -> str:
    """Return the innermost module that takes other steps in training, "" where it is the network's own forward."""
    theirs = _sketch_calls(other)
    return next((path for (path, turn), sketch in _sketch_calls(one).items() if theirs.get((path, turn)) != sketch), "")


def _sketch_calls(trace: Trace) -> dict[tuple[str, int], list[str]]:
    """Return what every call does, by its path and how often that was called before, innermost calls first."""
    sketches: dict[tuple[str, int], list[str]] = {}
    for call in trace.calls:
        turn = sum(path == call.path for path, _ in sketches)
        steps = trace.steps[call.first : call.end]
        sketches[call.path, turn] = [f"{step.op} {step.target} {_sketch_args(step)}" for step in steps]
    return sketches


def _sketch_args(step: fx.Node) -> str:
    """Return the arguments of a step as text, other steps left out."""
    return str(fx.node.map_arg((step.args, step.kwargs), lambda node: "step"))


def _check_inputs(module: nn.Module) -> None:
    """Refuse a network that needs more than an image."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty and parameter.kind in (*plain, inspect.Parameter.KEYWORD_ONLY)
    ]
    if not any(parameter.kind in (*plain, inspect.Parameter.VAR_POSITIONAL) for parameter in parameters):
        raise CutError(f"A backbone's forward takes an image, but that of {type(module).__name__} takes nothing.")
    if len(needed) > 1:
        raise CutError(
            f"A backbone's forward takes one input, an image, but that of {type(module).__name__} takes "
            f"{', '.join(needed)}. Give all but the image a default value."
        )


@contextmanager
def _mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Set training or evaluation for a while; every part then gets its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, was in modes:
            part.training = was


def _find_place(frame: Any) -> tuple[str, int] | None:
    """Return file and line of the innermost frame of a person's code."""
    while frame is not None and frame.f_code is not _attempt.__code__:  # whoever asked for the trace has no part in it
        file = frame.f_code.co_filename
        if not file.startswith(_OWN_FILES) and not file.startswith("<"):
            return file, frame.f_lineno
        frame = frame.f_back
    return None


def _quote_raised(error: BaseException) -> str:
    """Return where in a person's code an error came up, as the end of a sentence."""
    found, traceback = ("", 0), error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(_OWN_FILES) and not file.startswith("<"):
            found = (file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return _quote_line(*found)


def _where(trace: Trace, steps: list[fx.Node]) -> str:
    """Return where the first of some steps is taken, as the end of a sentence."""
    return _quote_line(*trace.places.get(steps[0], ("", 0))) if steps else ""


def _quote_line(file: str, line: int) -> str:
    """Return " (file.py, line 3: `x = f(x)`)", nothing where the line is not known."""
    if not file:
        return ""
    text = linecache.getline(file, line).strip()
    return f" ({Path(file).name}, line {line}{f': `{text}`' if text else ''})"


def run_values(trace: Trace, image_BCHW: Tensor) -> tuple[dict[fx.Node, Tensor], dict[fx.Node, int], str | None]:
    """Return the tensors that the steps give, their versions when given, and why the run ended early, if it did.

    Args:
        trace: The network, in the mode it is in.
        image_BCHW: Its input.
    """
    values: dict[fx.Node, Any] = {}
    versions: dict[fx.Node, int] = {}
    modules = dict(trace.module.named_modules())
    with torch.no_grad():
        for step in trace.steps:
            if step.op == "output":
                break
            try:
                values[step] = _run_step(step, values, modules, trace.module, image_BCHW)
            except Exception as error:  # whatever a person's code may raise
                return _tensors(values), versions, f"{describe_error(error)} {trace.describe(step)}"
            if isinstance(values[step], Tensor):
                versions[step] = values[step]._version
    return _tensors(values), versions, None


def _run_step(
    step: fx.Node, values: dict[fx.Node, Any], modules: dict[str, nn.Module], root: nn.Module, image_BCHW: Tensor
) -> Any:
    """Return the value of one step."""
    args = fx.node.map_arg(step.args, values.__getitem__)
    kwargs = fx.node.map_arg(step.kwargs, values.__getitem__)
    assert isinstance(args, tuple)
    assert isinstance(kwargs, dict)
    if step.op == "placeholder":
        return image_BCHW
    if step.op == "get_attr":
        return find_tensor(root, str(step.target))
    if step.op == "call_module":
        return modules[str(step.target)](*args, **kwargs)
    if step.op == "call_method":
        return getattr(args[0], str(step.target))(*args[1:], **kwargs)
    assert callable(step.target)
    return step.target(*args, **kwargs)


def find_tensor(root: nn.Module, path: str) -> Tensor:
    """Return the parameter or buffer that lies at a path."""
    parent, _, name = path.rpartition(".")
    tensor = getattr(root.get_submodule(parent), name)
    assert isinstance(tensor, Tensor)
    return tensor


def _tensors(values: dict[fx.Node, Any]) -> dict[fx.Node, Tensor]:
    """Return those values that are tensors."""
    return {step: value for step, value in values.items() if isinstance(value, Tensor)}
