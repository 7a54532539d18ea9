"""`selviz publish`: a run as a static site."""

import argparse

from selviz.cli.common import Commands, cache_option, run_option, show, store_and_run
from selviz.store.files import WEIGHTS


def publish(args: argparse.Namespace) -> None:
    """Write a static site of a run, to give away: the board, a page for each unit, and what silencing each unit does.

    The site is plain files that open from a disk and from any web host. Silencing a unit on it answers with the exact
    numbers of the run's atlas, which is computed first where the run has none.
    """
    from selviz.publishing.attribution_pictures import pictures_of
    from selviz.publishing.site import publish as write_site
    from selviz.text.tables import Progress

    store, run = store_and_run(args)
    runnable = (store.run_path(run) / WEIGHTS).exists() and store.run(run).get("traced") != "watched"
    with Progress() as progress:
        if runnable and not args.without_atlas and not (store.run_path(run) / "atlas.duckdb").exists():
            from selviz.ablation import BoundaryCache
            from selviz.studies.ablation import run_atlas

            run_atlas(store, run, BoundaryCache(args.cache_gb), progress)
        attribute = pictures_of(store, run) if runnable and not args.without_attribution else None
        written = write_site(store, run, args.to, attribute, progress)
    result = {
        "run": run,
        "folder": str(written.folder),
        "files": written.files,
        "bytes": written.bytes,
        "units": written.units,
    }
    message = f"{written.folder / 'index.html'}: {written.units:,} units, {written.files:,} files, "
    show(args, result, lambda: f"{message}{written.bytes / 1e6:.1f} MB")


def _publish_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument("--to", required=True, metavar="FOLDER", help="a new folder, or an older site, which is replaced")
    sub.add_argument("--without-atlas", action="store_true", help="do not compute the effect of silencing each unit")
    sub.add_argument("--without-attribution", action="store_true", help="leave out the pixels behind the top images")
    cache_option(sub)


COMMANDS: Commands = {
    "publish": (publish, "selviz publish mnist-5k-cnn-a0 --to site", _publish_options),
}
