"""What a request may name on this server: datasets, backbones and weight files, by name and never by a path.

Neighbours: `search.data.shelf` and `search.weights_shelf` find the files, `service.serving.dataset_checker` looks at
samples, `service.web.planning.backbone_offers` knows the backbones; `service.web.planning.jobs` asks here.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.data.catalogue import DATASETS, DatasetInfo
from search.data.shelf import DatasetShelf
from search.errors import SearchError
from search.spec import WeightsSpec
from search.weights_shelf import NO_WEIGHTS, PUBLISHED, WeightsShelf
from service.web.planning.backbone_offers import BackboneOffers
from service.web.problems import refuse_field


@dataclass(frozen=True)
class Offers:
    """The datasets, the backbones and the weight files of a server.

    Attributes:
        datasets: Those of this program, and those in the server's folder.
        weights: The files in the server's folder.
        backbones: Those of this program, and those of installed packages.
    """

    datasets: DatasetShelf
    weights: WeightsShelf
    backbones: BackboneOffers

    def get_dataset(self, name: str) -> DatasetInfo:
        """Return the facts of a dataset on which networks can be trained.

        Raises:
            ProblemError: There is none; it names those that there are.
        """
        offered = self.datasets.list_trainable()
        for info in offered:
            if info.name == name:
                return info
        missing = " Of this one only the costs are known here: its files are missing." if name in DATASETS else ""
        known = ", ".join(info.name for info in offered)
        raise refuse_field("/dataset", f"Networks can be searched and trained on: {known}.{missing}")

    def choose_weights(self, words: str, backbone: str) -> WeightsSpec | None:
        """Return the file that networks start from, None for random weights.

        Raises:
            ProblemError: The server has no such file; it names those that it has.
        """
        if words == NO_WEIGHTS:
            return None
        held = [file.name for file in self.weights.list()]
        if words != PUBLISHED and words not in held:
            known = ", ".join([NO_WEIGHTS, PUBLISHED, *held])
            raise refuse_field("/weights", f"The server's weights folder holds no such file. Choose one of: {known}.")
        try:
            return self.weights.choose(words, backbone)
        except SearchError as error:
            raise refuse_field("/weights", self._say_without_places(str(error))) from error

    def list_unusable(self) -> list[tuple[str, str]]:
        """Return (file, why not) of what looks like a dataset in the server's folder and is none."""
        folder = self.datasets.folder
        found = []
        for file, reason in self.datasets.list_problems():
            name = file.relative_to(folder) if folder is not None and file.is_relative_to(folder) else file.name
            found.append((str(name), self._say_without_places(reason)))
        return found

    def _say_without_places(self, sentence: str) -> str:
        """Return a sentence without the paths of this machine, which are nobody's business elsewhere."""
        for folder in (self.datasets.folder, self.weights.folder):
            if folder is not None:
                sentence = sentence.replace(f"{folder}/", "").replace(str(folder), "of the server")
        return sentence
