"""The process that runs the code of another package's backbone for those who must not: a request in, a description out.

`python -m search.costs.describing` reads a `search.costs.backbone_facts.DescriptionRequest` on stdin and writes a
`BackboneDescription` on stdout; `service.serving.described_backbones` starts it with a time limit.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict

from models.backbones import get_backbone
from search.costs.backbone_facts import BackboneDescription, DescriptionRequest
from search.costs.lut import measure_costs
from search.data.catalogue import TaskInfo

EXIT_REFUSED = 2


def describe(request: DescriptionRequest) -> BackboneDescription:
    """Return the description of a backbone; this runs the code of the package that brings it.

    Raises:
        ModelsError: No such backbone, or one that cannot be used for this.
    """
    backbone = get_backbone(request.name)
    tasks = [TaskInfo(task.name, task.kind, task.channels) for task in request.tasks]
    size = request.input_size or (backbone.info.min_size, backbone.info.min_size)
    channels = request.image_channels or backbone.image_channels or 3
    costs = asdict(measure_costs(request.name, tasks, size, channels))
    del costs["backbone"]
    return BackboneDescription(
        name=request.name,
        num_layers=backbone.info.num_layers,
        output_stride=backbone.info.output_stride,
        min_size=backbone.info.min_size,
        image_channels=channels,
        summary=backbone.info.summary,
        definition=backbone.definition,
        **costs,
    )


def main() -> int:
    """Answer the request on stdin: a description on stdout, or a sentence on stderr and exit code 2."""
    request = DescriptionRequest.model_validate_json(sys.stdin.read())
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a package prints is no part of the answer
            answer = describe(request)
    except ValueError as error:
        sys.stderr.write(f"\n{error}\n")
        return EXIT_REFUSED
    sys.stdout.write(answer.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
