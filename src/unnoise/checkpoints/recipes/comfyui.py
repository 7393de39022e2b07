"""ComfyUI's pictures: the settings of the sampler in the graph, and of what feeds it."""

from __future__ import annotations

from unnoise.checkpoints.recipes.found import FoundRecipe, number, plain, stem, table, text, whole
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
    see = _Sight(graph)
    latent = see.size(sampler)
    model = see.made_from(sampler, "model", "guider")
    more = see.passes(sampler) | see.image(sampler) | see.clip(sampler)
    strange = sorted({node.kind for node in model if node.kind not in _CARRY and "model" in node.inputs})
    more |= {"Nodes": ", ".join(strange)} | see.vae() | see.text_weights(model)
    positive, negative = see.words(sampler, "positive"), see.words(sampler, "negative")
    names = [node.inputs[key] for node in model for key in _MODELS if isinstance(node.inputs.get(key), str)]
    guided = see.value(sampler, ("cfg",), "guider")
    return FoundRecipe(
        program="ComfyUI",
        prompt=positive,
        negative=negative,
        seed=whole(see.value(sampler, ("seed", "noise_seed"), "noise")),
        steps=whole(see.value(sampler, ("steps",), "sigmas")),
        guidance=1.0 if guided is None and "guider" in sampler.inputs else number(guided),
        sampler=text(see.value(sampler, ("sampler_name",), "sampler")),
        grid=see.grid(sampler),
        width=latent[0],
        height=latent[1],
        model=stem(names[0]) if names else "",
        noise="torch",
        loras=tuple(
            (stem(node.inputs["lora_name"]), number(see.own(node, "strength_model")) or 0.0)
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


class _Sight:
    """Looks up what feeds a node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

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

    def value(self, node: Node, names: tuple[str, ...], through: str) -> object:
        """The first of these inputs of the node, or of the node that feeds `through`."""
        for place in (node, self.graph.source(node.inputs.get(through))):
            for name in names if place is not None else ():
                if place is not None and name in place.inputs:
                    return self.own(place, name)
        return None

    def grid(self, sampler: Node) -> str:
        named = self.value(sampler, ("scheduler",), "sigmas")
        source = self.graph.source(sampler.inputs.get("sigmas"))
        known = {
            "KarrasScheduler": "karras",
            "ExponentialScheduler": "exponential",
            "PolyexponentialScheduler": "polyexponential",
        }
        return text(named) or known.get("" if source is None else source.kind, "")

    def made_from(self, sampler: Node, name: str, through: str) -> list[Node]:
        """The node of this input and all above it."""
        holder = sampler if name in sampler.inputs else self.graph.source(sampler.inputs.get(through))
        node = None if holder is None else self.graph.source(holder.inputs.get(name))
        return [] if node is None else [node, *self.graph.above(node)]

    def words(self, sampler: Node, name: str) -> str:
        """The texts of a condition, one a line where several were combined."""
        guider = self.graph.source(sampler.inputs.get("guider"))
        link = sampler.inputs.get(name)
        if link is None and guider is not None:
            link = guider.inputs.get(name, guider.inputs.get("conditioning") if name == "positive" else None)
        found: list[str] = []
        self._collect(link, found, set())
        return "\n".join(dict.fromkeys(part for part in found if part))

    def _collect(self, link: object, found: list[str], seen: set[Link]) -> None:
        waiting = [link]
        while waiting:
            link = waiting.pop()
            node = self.graph.source(link)
            if (
                node is None
                or not isinstance(link, Link)
                or link in seen
                or node.kind == "ConditioningZeroOut"
            ):
                continue
            seen.add(link)
            words = next((key for key in _TEXTS if key in node.inputs), None)
            if words is not None:
                found.append(text(self.own(node, words)))
            elif {"positive", "negative"} <= set(node.inputs):
                waiting.append(node.inputs["negative" if link.slot == 1 else "positive"])
            else:
                waiting.extend(
                    reversed([entry for name, entry in node.inputs.items() if name.startswith("condition")])
                )

    def size(self, sampler: Node) -> tuple[int | None, int | None]:
        for node in self.made_from(sampler, "latent_image", ""):
            if {"width", "height"} <= set(node.inputs):
                return whole(self.own(node, "width")), whole(self.own(node, "height"))
        return None, None

    def passes(self, sampler: Node) -> dict[str, object]:
        """What the sampler leaves out of a whole run, and whether another follows it."""
        others = [node for node in self.graph.nodes.values() if _is_sampler(node)][:_SAMPLERS]
        followers = [
            node for node in others if sampler.name in {above.name for above in self.graph.above(node)}
        ]
        told: dict[str, object] = {"Further passes": len(followers)} if followers else {}
        strength = number(self.value(sampler, ("denoise",), "sigmas"))
        if strength is not None and strength < 1.0:
            told["Denoising strength"] = strength
        start, end = (whole(self.own(sampler, name)) for name in ("start_at_step", "end_at_step"))
        steps = whole(self.own(sampler, "steps"))
        if start or (end is not None and steps is not None and end < steps):
            told["Steps made"] = f"{start or 0} to {end} of {steps}"
        return told

    def image(self, sampler: Node) -> dict[str, object]:
        latent = self.made_from(sampler, "latent_image", "")
        loaded = [node.inputs.get("image") for node in latent if "LoadImage" in node.kind]
        return {"Init image": text(loaded[0])} if loaded else {}

    def clip(self, sampler: Node) -> dict[str, object]:
        """How many layers of the text encoder are used from its end, as A1111 counts."""
        for name in ("positive", "negative"):
            for node in self.made_from(sampler, name, "guider"):
                last = whole(node.inputs.get("stop_at_clip_layer"))
                if last is not None and last < -1:
                    return {"Clip skip": -last}
        return {}

    def text_weights(self, nodes: list[Node]) -> dict[str, object]:
        """The weights of LoRAs in the text encoder, where they are other than in the network."""
        told: dict[str, object] = {}
        for node in nodes:
            weight = number(self.own(node, "strength_model")) or 0.0
            words = number(self.own(node, "strength_clip")) or 0.0
            if isinstance(node.inputs.get("lora_name"), str) and words != weight:
                told[f"LoRA text weight {stem(node.inputs['lora_name'])}"] = f"{words:g}"
        return told

    def vae(self) -> dict[str, object]:
        names = [text(node.inputs.get("vae_name")) for node in self.graph.nodes.values()]
        return {"VAE": next((stem(name) for name in names if name), "")}
