"""Formats the files of a bundle: YAML and JSON from data, with a comment on top."""

import json

import yaml


class _Dumper(yaml.SafeDumper):
    """Indents lists under their key, writes texts of several lines as blocks, and uses no aliases."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data):
        return True


def _text(dumper, value):
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def yaml_text(comment: str, *documents: dict) -> str:
    """`documents` as one YAML file, in the order of their keys, under `comment` as lines of "# "."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    bodies = (yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000) for document in documents)
    return head + "---\n".join(bodies)


def json_text(document: dict) -> str:
    return json.dumps(document, indent=2) + "\n"
