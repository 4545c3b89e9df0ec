from gen3dface.conversion.key_map import Entry, module_entries
from gen3dface.models.token_projection import ViewTokenProjection


def token_keys(module: ViewTokenProjection, ours: str = "") -> list[Entry]:
    """`cc_projection`."""
    return module_entries(module.proj, ours + "proj.", "cc_projection.", [])
