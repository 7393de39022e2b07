"""ComfyUI's pictures: the settings of the sampler in the graph, and of what feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unnoise.checkpoints.recipes.found import FoundRecipe, lora, number, plain, stem, table, text, whole
from unnoise.checkpoints.recipes.graph import Graph, Link, Node, of_page, of_run
from unnoise.errors import InputError

_NODES, _SAMPLERS = 5_000, 50  # the most that are looked at; large graphs have some hundreds, and a few
_DEPTH = 16  # nodes that one value may pass through
_TEXTS = ("text", "text_g", "prompt", "string", "value", "text_l")
_MODELS = ("ckpt_name", "unet_name", "model_name")
_CARRY = {  # nodes on the model's way whose part in the picture is told elsewhere, or that have none
    *("CheckpointLoaderSimple", "CheckpointLoader", "UNETLoader", "LoraLoader", "LoraLoaderModelOnly"),
    *("Reroute", "PrimitiveNode", "CLIPSetLastLayer"),
}
_GRIDS = {f"{name}Scheduler": name.lower() for name in ("Karras", "Exponential", "Polyexponential")}


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if ComfyUI wrote one: of the run, or else of the editor's page."""
    run, page = (table(chunks.get(name, "")) for name in ("prompt", "workflow"))
    for written, reader in ((run, of_run), (page, of_page)):
        graph = Graph({}) if written is None else reader(written)
        if len(graph.nodes) > _NODES:
            raise InputError(f"a graph of {len(graph.nodes):,} nodes is no recipe; give a picture with one.")
        sampler = _sampler(graph)
        if sampler is not None:
            return _read(graph, sampler)
    return None


def _read(graph: Graph, sampler: Node) -> FoundRecipe:
    see = _Sight(graph, sampler)
    width, height = see.size()
    model = see.made_from("model", "guider")
    more = see.passes() | see.image() | see.clip()
    strange = sorted({node.kind for node in model if node.kind not in _CARRY and "model" in node.inputs})
    more |= {"Nodes": ", ".join(strange)} | see.vae() | see.text_weights(model)
    names = [node.inputs[key] for node in model for key in _MODELS if isinstance(node.inputs.get(key), str)]
    guided = see.value(("cfg",), "guider")
    return FoundRecipe(
        program="ComfyUI",
        prompt=see.words("positive"),
        negative=see.words("negative"),
        seed=whole(see.value(("seed", "noise_seed"), "noise")),
        steps=whole(see.value(("steps",), "sigmas")),
        guidance=1.0 if guided is None and "guider" in sampler.inputs else number(guided),
        sampler=text(see.value(("sampler_name",), "sampler")),
        grid=see.grid(),
        width=width,
        height=height,
        model=stem(names[0]) if names else "",
        noise="torch",
        loras=tuple(
            lora(node.inputs["lora_name"], see.own(node, "strength_model"))
            for node in model
            if isinstance(node.inputs.get("lora_name"), str)
        ),
        more=plain(more),
    )


def _is_sampler(node: Node) -> bool:
    wired = isinstance(node.inputs.get("latent_image"), Link)
    return wired and bool({"positive", "guider", "sampler_name", "sampler"} & set(node.inputs))


def _sampler(graph: Graph) -> Node | None:
    """The sampler that the saved picture starts from: of those above an output, one with none above itself."""
    outputs = [
        node for node in graph.nodes.values() if "image" in node.kind.lower() and "images" in node.inputs
    ]
    above = {node.name for output in outputs[:_SAMPLERS] for node in graph.above(output)}
    samplers = [node for node in graph.nodes.values() if _is_sampler(node)]
    chosen = ([node for node in samplers if node.name in above] or samplers)[:_SAMPLERS]
    first = [node for node in chosen if not any(map(_is_sampler, graph.above(node)))]
    return next(iter(first or chosen), None)


@dataclass(frozen=True)
class _Sight:
    """Looks up what feeds the sampler."""

    graph: Graph
    sampler: Node

    def behind(self, name: str) -> Node | None:
        """The node that feeds this input."""
        return self.graph.source(self.sampler.inputs.get(name))

    def own(self, node: Node, name: str, depth: int = _DEPTH) -> object:
        """A node's input; through links, the one value that the node at the other end has to give."""
        value = node.inputs.get(name)
        if not isinstance(value, Link):
            return value
        source = self.graph.source(value)
        if source is None or depth == 0:
            return None
        for key in (name, "value", "seed", *_TEXTS, "int", "float", "number"):
            if key in source.inputs:
                return self.own(source, key, depth - 1)
        return None

    def value(self, names: tuple[str, ...], through: str) -> object:
        """The first of these inputs of the sampler, or of the node that feeds `through`."""
        for node in (self.sampler, self.behind(through)):
            for name in names:
                if node is not None and name in node.inputs:
                    return self.own(node, name)
        return None

    def grid(self) -> str:
        source = self.behind("sigmas")
        return text(self.value(("scheduler",), "sigmas")) or _GRIDS.get(
            "" if source is None else source.kind, ""
        )

    def made_from(self, name: str, through: str = "") -> list[Node]:
        """The node of this input, of the sampler or of the node that feeds `through`, and all above it."""
        holder = self.sampler if name in self.sampler.inputs else self.behind(through)
        node = None if holder is None else self.graph.source(holder.inputs.get(name))
        return [] if node is None else [node, *self.graph.above(node)]

    def words(self, name: str) -> str:
        """The texts of a condition, one a line where several were combined."""
        guider, link = self.behind("guider"), self.sampler.inputs.get(name)
        if link is None and guider is not None:
            link = guider.inputs.get(name, guider.inputs.get("conditioning") if name == "positive" else None)
        return "\n".join(dict.fromkeys(part for part in self._texts(link) if part))

    def _texts(self, link: object) -> Iterator[str]:
        waiting: list[object] = [link]
        seen: set[Link] = set()
        while waiting:
            link = self.graph.link(waiting.pop())
            node = self.graph.source(link)
            if link is None or node is None or link in seen or node.kind == "ConditioningZeroOut":
                continue
            seen.add(link)
            words = next((key for key in _TEXTS if key in node.inputs), None)
            if words is not None:
                yield text(self.own(node, words))
            elif {"positive", "negative"} <= set(node.inputs):
                waiting.append(node.inputs["negative" if link.slot == 1 else "positive"])
            else:
                joined = [entry for name, entry in node.inputs.items() if name.startswith("condition")]
                waiting += reversed(joined)

    def size(self) -> tuple[int | None, int | None]:
        for node in self.made_from("latent_image"):
            if {"width", "height"} <= set(node.inputs):
                return whole(self.own(node, "width")), whole(self.own(node, "height"))
        return None, None

    def passes(self) -> dict[str, object]:
        """What the sampler leaves out of a whole run, and whether another follows it."""
        others = [node for node in self.graph.nodes.values() if _is_sampler(node)][:_SAMPLERS]
        followers = [
            node for node in others if self.sampler.name in {above.name for above in self.graph.above(node)}
        ]
        told: dict[str, object] = {"Further passes": len(followers)} if followers else {}
        strength = number(self.value(("denoise",), "sigmas"))
        if strength is not None and strength < 1.0:
            told["Denoising strength"] = strength
        start, end, steps = (
            whole(self.own(self.sampler, name)) for name in ("start_at_step", "end_at_step", "steps")
        )
        if start or (end is not None and steps is not None and end < steps):
            told["Steps made"] = f"{start or 0} to {end} of {steps}"
        return told

    def image(self) -> dict[str, object]:
        latent = self.made_from("latent_image")
        loaded = [node.inputs.get("image") for node in latent if "LoadImage" in node.kind]
        return {"Init image": text(loaded[0])} if loaded else {}

    def clip(self) -> dict[str, object]:
        """How many layers of the text encoder are used from its end, as A1111 counts."""
        for node in (*self.made_from("positive", "guider"), *self.made_from("negative", "guider")):
            last = whole(node.inputs.get("stop_at_clip_layer"))
            if last is not None and last < -1:
                return {"Clip skip": -last}
        return {}

    def text_weights(self, nodes: list[Node]) -> dict[str, object]:
        """The weights of LoRAs in the text encoder, where they are other than in the network."""
        told: dict[str, object] = {}
        for node in nodes:
            weight, words = (number(self.own(node, f"strength_{part}")) or 0.0 for part in ("model", "clip"))
            if isinstance(node.inputs.get("lora_name"), str) and words != weight:
                told[f"LoRA text weight {stem(node.inputs['lora_name'])}"] = f"{words:g}"
        return told

    def vae(self) -> dict[str, object]:
        names = [text(node.inputs.get("vae_name")) for node in self.graph.nodes.values()]
        return {"VAE": next((stem(name) for name in names if name), "")}
