"""``bedside serve``: the packaged model behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Quiet, bundle_of, example, progress

VERBS = ("serve",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve", epilog=example("bedside serve my-study", "bedside serve my-study/bundle --port 8080"))(serve)


def serve(
    place: Annotated[Path, typer.Argument(metavar="STUDY|BUNDLE", help="A study or a bundle.", show_default=False)],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Another port; 0 takes a free one.")] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make another key and show it, once.")] = False,
    dev: Annotated[
        bool, typer.Option("--dev", help="Answer this machine without a key. Never with real notes.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Serve answers over REST on this machine; the first start makes a key and shows it, once."""
    from bedside.core.keys import config_folder
    from bedside.protocol import ServeSection
    from bedside.serving import KeyStore
    from bedside.serving import serve as listen
    from bedside.study import Study

    bundle = bundle_of(place)
    settings = ServeSection() if bundle == place else Study.open(place).protocol.serve
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    key_file = config_folder() / "keys.json"
    first = not dev and not KeyStore(key_file).names()
    listen(bundle, settings, key_file, new_key=new_key or first, dev=dev, progress=progress(quiet and not first))
