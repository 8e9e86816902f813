"""The templates of `adapt.vlm.template` as Jinja, for a processor of transformers."""

from __future__ import annotations

import json
from typing import Any

from adapt.vlm.chat import SETTLED

TOKEN = "<image>"  # where a picture stands in a text

# Some harnesses write a picture into the text, in front of the question: it stands where ours does.
_SAID = """{%- macro said(content) -%}
{%- if content is string -%}{{ content.strip().removeprefix('TOKEN').strip() }}
{%- else -%}{%- for part in content if part['type'] == 'text' -%}{{ part['text'].strip() }}{%- endfor -%}
{%- endif -%}{%- endmacro -%}
{%- macro shown(content) -%}
{%- if content is string -%}{%- if content.strip().startswith('TOKEN') -%}TOKEN{%- endif -%}
{%- else -%}{%- for part in content if part['type'] == 'image' -%}TOKEN{%- endfor -%}
{%- endif -%}{%- endmacro -%}
""".replace("TOKEN", TOKEN)
_FRONT = "{{- bos_token -}}{%- for message in messages -%}{{- shown(message['content']) -}}{%- endfor -%}"
_PLAIN = """{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}{{- ' ' ~ said(message['content']) ~ eos_token -}}
{%- else -%}{{- (('' if loop.first else '\\n') ~ 'User: ' ~ said(message['content'])).rstrip(' ') ~ '\\nAssistant:' -}}
{%- endif -%}{%- endfor -%}"""
_CAPTION = """{%- for message in messages -%}{{- said(message['content']) -}}
{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}{%- endfor -%}"""
# A tokenizer's own template reads texts: pictures become part of them, at the beginning of the first
_FLAT = """{%- set flat = namespace(shown='', messages=[]) -%}
{%- for message in messages -%}{%- set flat.shown = flat.shown ~ shown(message['content']) -%}{%- endfor -%}
{%- for message in messages -%}
{%- set text = (flat.shown if loop.first else '') ~ said(message['content']) -%}
{%- set flat.messages = flat.messages + [{'role': message['role'], 'content': text}] -%}
{%- endfor -%}
{%- set messages = flat.messages %}"""


def chat_template(name: str, tokenizer: Any) -> str:
    """A Jinja template that writes messages as a template of that name does.

    Args:
        name: of a `adapt.vlm.template.Template`.
        tokenizer: whose own template ``chat`` is, and whose tokens begin and end texts.
    """
    if name == "chat":
        held = "".join(f"{{%- set {key} = {json.dumps(value)} -%}}" for key, value in SETTLED.items())
        return _SAID + held + _FLAT + str(tokenizer.chat_template)
    front = _FRONT if tokenizer.bos_token else _FRONT.replace("{{- bos_token -}}", "")
    return _SAID + front + (_PLAIN if name == "plain" else _CAPTION)
