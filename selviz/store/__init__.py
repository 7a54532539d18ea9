"""All runs of a folder as tables: `Store("data").units(run)`, `.sql("select ...")`; stages write with `write_stage`.

A run is a folder of finished files that never change. Readers attach them read-only for one query; writers move a
finished file into place. So any number of processes read while others write, and a copied folder is a copied run.
"""

from selviz.store.files import SCHEMA, read_json, write_json
from selviz.store.groups import delete_group, list_groups, read_group, rename_group, write_group
from selviz.store.images import image_folder, write_images
from selviz.store.ledger import Chain, append, read_chain
from selviz.store.schema import TABLES
from selviz.store.stage_files import stage_is_whole, write_activations, write_stage
from selviz.store.store import Store
from selviz.store.unit_search import Wanted

__all__ = [
    "SCHEMA",
    "TABLES",
    "Chain",
    "Store",
    "Wanted",
    "append",
    "delete_group",
    "image_folder",
    "list_groups",
    "read_chain",
    "read_group",
    "read_json",
    "rename_group",
    "stage_is_whole",
    "write_activations",
    "write_group",
    "write_images",
    "write_json",
    "write_stage",
]
