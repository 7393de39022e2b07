"""A1111's prompts that change while a picture is made: [from:to:when], [to:when], [from::when] and [a|b].

What is read here is a tree whose leaves are text, brackets of attention included; `resolve` gives the text of one step,
in which `emphasis` then finds the weights. A square bracket that is none of these, and any bracket without its partner,
is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unnoise.text.prompts.pieces import check_depth

_MARK = re.compile(r"(\\.?|[()\[\]:|])", re.DOTALL)
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True)
class Edit:
    """One text up to a step, another from then on.

    when: the last step that says `before`, counted from 1; share: it is a share of all steps (it had a point).
    """

    before: Nodes
    after: Nodes
    when: float
    share: bool

    def last(self, steps: int, past: int = 0) -> int:
        """The last step, counted from 1, that says `before`; 0 or less for none. past: as of `resolve`."""
        when = (self.when - bool(past)) * steps if self.share else self.when - past
        return int(max(min(when, steps), -1))


@dataclass(frozen=True)
class Turns:
    """Each option is said for one step, in turn."""

    options: tuple[Nodes, ...]


@dataclass(frozen=True)
class Bracket:
    """A bracket and what stands in it: text, unless something in it changes."""

    nodes: Nodes


Node = str | Edit | Turns | Bracket
Nodes = tuple[Node, ...]


class _Mark(str):
    """A colon or a bar that may part a bracket."""

    __slots__ = ()


@dataclass
class _Frame:
    """A bracket that is still open, and what stands in it so far."""

    opener: str
    nodes: list[Node] = field(default_factory=list)


def read(text: str) -> Nodes:
    """The tree of a text. Raises InputError for brackets nested too deep."""
    frames = [_Frame("")]
    for place, part in enumerate(_MARK.split(text)):
        if place % 2:
            _take(part, frames)
        elif part:
            frames[-1].nodes.append(part)
    _give_up(frames)
    return tuple(frames[0].nodes)


def changes(nodes: Nodes) -> bool:
    """Whether any step says something else than another may."""
    return any(
        isinstance(node, Edit | Turns) or (isinstance(node, Bracket) and changes(node.nodes))
        for node in nodes
    )


def resolve(nodes: Nodes, step: int, steps: int, past: int = 0) -> str:
    """What is said at a step, counted from 0, of so many.

    past: steps of a first pass that went before. All its shares are behind then, and those of this pass are 1 to 2.
    """
    said: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            said.append(node)
            continue
        if isinstance(node, Edit):
            inner = node.before if step < node.last(steps, past) else node.after
        else:
            inner = node.options[step % len(node.options)] if isinstance(node, Turns) else node.nodes
        said.append(resolve(inner, step, steps, past))
    return "".join(said)


def _take(mark: str, frames: list[_Frame]) -> None:
    """Heed one mark; with a backslash before it, it is text."""
    if mark[0] == "\\":
        frames[-1].nodes.append(mark)
    elif mark in "([":
        frames.append(_Frame(mark))
        check_depth(len(frames) - 1)
    elif mark in ":|":
        frames[-1].nodes.append(_Mark(mark))
    else:
        _close(mark, frames)


def _close(mark: str, frames: list[_Frame]) -> None:
    """Close the innermost bracket, if this is its partner and what is in it makes sense.

    If not, no bracket around it does either, as A1111's grammar has it: all that are open become text.
    """
    top = frames[-1]
    made = _group(top) if top.opener == _PARTNER[mark] else None
    if made is None:
        _give_up(frames)
        frames[0].nodes.append(mark)
        return
    frames.pop()
    frames[-1].nodes.append(made)


def _give_up(frames: list[_Frame]) -> None:
    for frame in frames[1:]:
        frames[0].nodes += [frame.opener, *frame.nodes]
    del frames[1:]


def _group(frame: _Frame) -> Node | None:
    """What a closed bracket is; None for text between colons that is none of the forms."""
    marks = [place for place, node in enumerate(frame.nodes) if isinstance(node, _Mark)]
    colons = [place for place in marks if frame.nodes[place] == ":"]
    if frame.opener == "(":
        return Bracket(("(", *frame.nodes, ")")) if len(colons) <= 1 else None
    if not marks:
        return Bracket(("[", *frame.nodes, "]"))
    return _turns(frame.nodes, marks) if not colons else _edit(frame.nodes, colons)


def _turns(nodes: list[Node], bars: list[int]) -> Turns:
    begins, ends = [0, *(bar + 1 for bar in bars)], [*bars, len(nodes)]
    return Turns(tuple(tuple(nodes[begin:end]) for begin, end in zip(begins, ends, strict=True)))


def _edit(nodes: list[Node], colons: list[int]) -> Edit | None:
    last = nodes[colons[-1] + 1 :]
    found = _WHEN.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
    if found is None or len(colons) > 2:
        return None
    first = colons[0] if len(colons) == 2 else 0
    after = nodes[first + 1 if len(colons) == 2 else 0 : colons[-1]]
    return Edit(tuple(nodes[:first]), tuple(after), float(found[1]), "." in found[1])
