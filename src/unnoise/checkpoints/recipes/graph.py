"""ComfyUI's graph of nodes, in one form whether a picture holds the run (`prompt`) or the editor's page (`workflow`).

Nodes are data: nothing of a graph is run. Links may lead anywhere, in circles too, so every walk remembers where it
was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unnoise.checkpoints.recipes.found import Table, text

# Values that the editor keeps by position, in the order of each node's own form; "-" is no input of the node.
_FORMS = {
    "KSampler": "seed - steps cfg sampler_name scheduler denoise",
    "KSamplerAdvanced": "add_noise noise_seed - steps cfg sampler_name scheduler start_at_step end_at_step "
    "return_with_leftover_noise",
    "SamplerCustom": "add_noise noise_seed - cfg",
    "RandomNoise": "noise_seed",
    "KSamplerSelect": "sampler_name",
    "BasicScheduler": "scheduler steps denoise",
    "KarrasScheduler": "steps",
    "CFGGuider": "cfg",
    "CLIPTextEncode": "text",
    "CLIPTextEncodeSDXL": "width height crop_w crop_h target_width target_height text_g text_l",
    "CLIPSetLastLayer": "stop_at_clip_layer",
    "CheckpointLoaderSimple": "ckpt_name",
    "UNETLoader": "unet_name",
    "VAELoader": "vae_name",
    "LoraLoader": "lora_name strength_model strength_clip",
    "LoraLoaderModelOnly": "lora_name strength_model",
    "EmptyLatentImage": "width height batch_size",
    "EmptySD3LatentImage": "width height batch_size",
    "LoadImage": "image",
    **{f"Primitive{kind}": "value" for kind in ("Node", "Int", "Float", "String", "StringMultiline")},
}


@dataclass(frozen=True)
class Link:
    """An output of a node: its node's name and its place among the outputs."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """kind: the class of the node. inputs: values, or a Link for what comes from another node."""

    name: str
    kind: str
    inputs: dict[str, Any]

    def links(self) -> list[Link]:
        """Where its inputs come from, in their order."""
        return [value for value in self.inputs.values() if isinstance(value, Link)]


@dataclass(frozen=True)
class Graph:
    """Nodes by name."""

    nodes: dict[str, Node]

    def source(self, value: object) -> Node | None:
        """The node that a link leads to, if it is there, past those that only lead on."""
        link = self.link(value)
        return None if link is None else self.nodes.get(link.node)

    def link(self, value: object) -> Link | None:
        """The link past the nodes that only lead on; None for what is no link, and for a circle."""
        seen = set()
        while isinstance(value, Link) and value not in seen:
            node = self.nodes.get(value.node)
            if node is None or not node.kind.startswith("Reroute"):
                return value
            seen.add(value)
            value = next(iter(node.links()), None)
        return None

    def above(self, start: Node) -> Iterator[Node]:
        """The nodes that `start` is made from, the nearest first, each once."""
        waiting, seen = deque([start]), {start.name}
        while waiting:
            for link in waiting.popleft().links():
                node = self.nodes.get(link.node)
                if node is not None and node.name not in seen:
                    seen.add(node.name)
                    waiting.append(node)
                    yield node


def of_run(written: Table) -> Graph:
    """The graph of a `prompt` chunk: {name: {"class_type": ..., "inputs": {...}}}."""
    nodes = {}
    for name, entry in written.items():
        if isinstance(entry, dict) and isinstance(entry.get("inputs"), dict):
            inputs = {key: _linked(value) for key, value in entry["inputs"].items()}
            nodes[name] = Node(name, text(entry.get("class_type")), inputs)
    return Graph(nodes)


def of_page(written: Table) -> Graph:
    """The graph of a `workflow` chunk; nodes that are switched off are left out."""
    links = {}
    for entry in _list(written.get("links")):
        if isinstance(entry, list) and len(entry) >= 3 and isinstance(entry[0], int):
            links[entry[0]] = Link(str(entry[1]), entry[2] if isinstance(entry[2], int) else 0)
    nodes = {}
    for entry in _list(written.get("nodes")):
        if isinstance(entry, dict) and entry.get("mode") not in (2, 4):
            name, kind = str(entry.get("id")), text(entry.get("type"))
            nodes[name] = Node(name, kind, _form(kind, entry.get("widgets_values")) | _wired(entry, links))
    return Graph(nodes)


def _linked(value: object) -> object:
    match value:
        case [str() | int() as node, int() as slot]:
            return Link(str(node), slot)
    return value


def _form(kind: str, values: object) -> Table:
    if isinstance(values, dict):
        return dict(values)
    names = _FORMS.get(kind, "").split()
    return {name: value for name, value in zip(names, _list(values), strict=False) if name != "-"}


def _wired(entry: Table, links: dict[int, Link]) -> Table:
    rows = [row for row in _list(entry.get("inputs")) if isinstance(row, dict)]
    return {
        text(row.get("name")): links[row["link"]]
        for row in rows
        if isinstance(row.get("link"), int) and row["link"] in links
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
