"""One self-contained page about a jam: the wait-for graph, the timeline with sections as lanes, the actors in words."""

from __future__ import annotations

import math
import shutil
import subprocess
from html import escape
from typing import Any

from harness.explain import Standstill, colours, holdings, owned, text_lines

STEP_WIDTH, LANE_HEIGHT, LEFT = 46, 44, 130
CLOSING_WIDTH = 130
DOT_SECONDS_MAX = 10.0


# --- the graph --------------------------------------------------------------------------------------------------------


def graph_svg(state: dict[str, Any], *, use_graphviz: bool = True) -> str:
    """The wait-for graph as SVG: by graphviz where it is installed, else on a circle."""
    dot = shutil.which("dot") if use_graphviz else None
    if dot is not None:
        drawn = _by_graphviz(dot, dot_text(state))
        if drawn:
            return drawn
    return _on_a_circle(state)


def dot_text(state: dict[str, Any]) -> str:
    """The graph in graphviz's language."""
    tint = colours([actor["name"] for actor in state["actors"]])
    lines = ["digraph jam {", '  rankdir=LR; bgcolor="transparent";']
    lines.append('  node [fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=11];')
    for actor in state["actors"]:
        label = _quoted(actor["words"])
        lines.append(f"  {_quoted(actor['name'])} [label={label}, style=filled, fontcolor=white,")
        lines.append(f'    fillcolor="{tint[actor["name"]]}"];')
    wanted = {edge["section"] for edge in state["waits"]}
    for section in state["sections"]:
        if not section["owner_name"] and section["name"] not in wanted:
            continue  # nothing to say about it
        lines.append(f"  {_quoted('§' + section['name'])} [label={_quoted(section['name'])}, shape=box];")
        if section["owner_name"]:
            lines.append(f'  {_quoted("§" + section["name"])} -> {_quoted(section["owner_name"])} [label="held by"];')
    for edge in state["waits"]:
        head = _quoted("§" + edge["section"])
        lines.append(f'  {_quoted(edge["waiter_name"])} -> {head} [label="waits for", style=dashed, color=firebrick];')
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _by_graphviz(dot: str, text: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the program found as `dot`, without a shell
            [dot, "-Tsvg"], input=text.encode(), capture_output=True, timeout=DOT_SECONDS_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    drawn = done.stdout.decode("utf-8", "replace")
    return drawn[drawn.find("<svg") :]


def _on_a_circle(state: dict[str, Any]) -> str:
    """Actors and sections on a circle, in the order of the cycle, so that a cycle is seen as one."""
    tint = colours([actor["name"] for actor in state["actors"]])
    nodes = _order_of_nodes(state)
    size = max(320, 90 * len(nodes))
    middle, radius = size / 2, size / 2 - 80
    places = {}
    for number, node in enumerate(nodes):
        angle = 2 * math.pi * number / max(1, len(nodes)) - math.pi / 2
        places[node] = (middle + radius * math.cos(angle), middle + radius * math.sin(angle))
    words = {actor["name"]: actor["words"] for actor in state["actors"]}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" '
        'font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>',
    ]
    held = [section for section in state["sections"] if section["owner_name"]]
    parts += [_arrow(places, "§" + section["name"], section["owner_name"], "held by", "") for section in held]
    dashes = ' stroke-dasharray="5 4"'
    parts += [
        _arrow(places, edge["waiter_name"], "§" + edge["section"], "waits for", dashes) for edge in state["waits"]
    ]
    for node, (x, y) in places.items():
        label = escape(words.get(node, node.removeprefix("§")))
        fill = tint.get(node, "#ffffff")
        ink = "#ffffff" if node in tint else "#222222"
        width = max(70, 7 * len(label) + 16)
        corner = 14 if node in tint else 2
        parts.append(
            f'<rect x="{x - width / 2:.0f}" y="{y - 14:.0f}" width="{width}" height="28" rx="{corner}" fill="{fill}" '
            f'stroke="#555"/><text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="{ink}">{label}</text>'
        )
    return "".join([*parts, "</svg>"])


def _order_of_nodes(state: dict[str, Any]) -> list[str]:
    nodes: list[str] = []
    for cycle in state["cycles"]:
        for edge in cycle:
            nodes += [edge["waiter_name"], "§" + edge["section"]]
    nodes += [actor["name"] for actor in state["actors"]]
    for edge in state["waits"]:
        nodes += [edge["waiter_name"], "§" + edge["section"], edge["owner_name"]]
    for section in state["sections"]:
        if section["owner_name"]:
            nodes += ["§" + section["name"], section["owner_name"]]
    return list(dict.fromkeys(nodes))


def _arrow(places: dict[str, tuple[float, float]], tail: str, head: str, label: str, style: str) -> str:
    (x1, y1), (x2, y2) = places[tail], places[head]
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    gap_x, gap_y = (x2 - x1) / length * 40, (y2 - y1) / length * 22
    return (
        f'<line x1="{x1 + gap_x:.0f}" y1="{y1 + gap_y:.0f}" x2="{x2 - gap_x:.0f}" y2="{y2 - gap_y:.0f}" '
        f'stroke="#555"{style} marker-end="url(#tip)"/><text x="{(x1 + x2) / 2:.0f}" y="{(y1 + y2) / 2 - 4:.0f}" '
        f'text-anchor="middle" fill="#555">{label}</text>'
    )


# --- the timeline -----------------------------------------------------------------------------------------------------


def step_in_words(point: str) -> str:
    """What an actor does at a preemption point."""
    *path, section, what = ("", *point.split("."))
    if what == "request":
        return f"its client asks ({section})"
    where = f"on the path {path[-1]}" if path and path[-1] else ""
    return {
        "wanted": f"enters {section} {where}",
        "leaving": f"leaves {section} {where}",
        "read": f"reads what it converts ({section})",
        "append": f"puts the message into the store ({section})",
    }.get(what, "")


def _counted(number: int, word: str, plural: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}{plural}"


def timeline_svg(still: Standstill) -> str:
    """Sections as lanes, actors as colours; the moment at which the cycle closed is marked."""
    steps = still.steps
    lanes = [section["name"] for section in still.state["sections"]]
    tint = colours(still.scenario.names)
    width = LEFT + STEP_WIDTH * len(steps) + CLOSING_WIDTH
    height = LANE_HEIGHT * (len(lanes) + 1) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for number, lane in enumerate(lanes):
        y = LANE_HEIGHT * number + 30
        parts.append(f'<text x="8" y="{y + 4}">{escape(lane)}</text>')
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{width - 10}" y2="{y}" stroke="#ddd"/>')
    for section, actor, first, last in holdings(steps):
        y = LANE_HEIGHT * lanes.index(section) + 19
        x1 = LEFT + STEP_WIDTH * first
        x2 = LEFT + STEP_WIDTH * (len(steps) + 1 if last is None else last + 1)
        parts.append(
            f'<rect x="{x1}" y="{y}" width="{x2 - x1}" height="22" rx="4" fill="{tint[actor]}"><title>{escape(actor)} '
            f'holds {escape(section)}</title></rect><text x="{x1 + 6}" y="{y + 15}" fill="#fff">{escape(actor)}</text>'
        )
    y = LANE_HEIGHT * len(lanes) + 30
    parts.append(f'<text x="8" y="{y + 4}">steps</text>')
    for number, (actor, point) in enumerate(steps):
        x = LEFT + STEP_WIDTH * number + STEP_WIDTH / 2
        parts.append(
            f'<circle cx="{x:.0f}" cy="{y}" r="9" fill="{tint[actor]}"><title>{number + 1}. {escape(actor)}: '
            f'{escape(point)}</title></circle><text x="{x:.0f}" y="{y + 4}" text-anchor="middle" fill="#fff" '
            f'font-size="9">{number + 1}</text>'
        )
    if still.state["jammed"]:
        x = LEFT + STEP_WIDTH * len(steps)
        parts.append(
            f'<line x1="{x}" y1="6" x2="{x}" y2="{y + 12}" stroke="firebrick" stroke-width="3"/>'
            f'<text x="{x + 6}" y="14" fill="firebrick" font-weight="bold">the cycle closes</text>'
        )
    return "".join([*parts, "</svg>"])


# --- the page ---------------------------------------------------------------------------------------------------------

STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
pre{background:#8881;padding:.8rem;overflow:auto;white-space:pre-wrap}td:first-child{white-space:nowrap}svg{max-width:100%;background:#fff;color:#222}
td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}.dot{display:inline-block;width:.8em;height:.8em;
border-radius:50%;margin-right:.4em}.scroll{overflow:auto}
"""


def html(still: Standstill) -> str:
    """The whole page: no scripts, nothing loaded from elsewhere."""
    state = still.state
    tint = colours(still.scenario.names)
    rows = "".join(
        f'<tr><td><span class="dot" style="background:{tint.get(actor["name"], "#777")}"></span>'
        f"{escape(actor['name'])}</td><td>{escape(actor['position'])}"
        f"<details><summary>await stack</summary><pre>{escape(chr(10).join(actor['stack']))}</pre></details></td></tr>"
        for actor in state["actors"]
    )
    steps = "".join(
        f'<tr><td>{number}</td><td><span class="dot" style="background:{tint[actor]}"></span>{escape(actor)}</td>'
        f"<td><code>{escape(point)}</code></td><td>{escape(step_in_words(point))}</td></tr>"
        for number, (actor, point) in enumerate(still.steps, 1)
    )
    verdict = "jammed" if state["jammed"] else "not jammed"
    sections = "".join(
        f"<tr><td>{escape(section['name'])}</td><td>{escape(owned(section))}</td>"
        f"<td>{escape(', '.join(waiter['actor'] for waiter in section['waiters']) or 'nobody')} waits</td></tr>"
        for section in state["sections"]
    )
    queues = "".join(f"<tr><td>{escape(name)}</td><td>{length}</td></tr>" for name, length in state["queues"].items())
    facts = "".join(
        f"<h3>{title}</h3><ul>{''.join(f'<li>{escape(item)}</li>' for item in state[key])}</ul>"
        for key, title in (("works", "Still works"), ("halts", "Halts"), ("frees", "Would free it"))
        if state[key]
    )
    text = escape("\n".join(text_lines(state, stacks=False)))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mailjam: {escape(still.scenario.label)}'
        f"</title><style>{STYLE}</style></head><body><h1>{escape(still.scenario.label)}: {verdict}</h1>"
        f"<p>Schedule <code>{escape(still.schedule.token)}</code>, {_counted(len(still.steps), 'step', 's')}, "
        f"{_counted(still.schedule.context_switches, 'context switch', 'es')}. Defects of this build: "
        f"{escape(', '.join(state['defects']) or 'none')}.</p>"
        f"<h2>Timeline</h2><div class='scroll'>{timeline_svg(still)}</div>"
        f"<h2>Who waits for whom</h2><div class='scroll'>{graph_svg(state)}</div>"
        f"<h2>Actors</h2><table>{rows}</table><h2>Sections and queues</h2><table>{sections}{queues}</table>"
        f"<h2>What works, what would free it</h2>{facts}"
        f"<h2>Step by step</h2><table>{steps}</table><h2>As text</h2><pre>{text}</pre></body></html>\n"
    )
