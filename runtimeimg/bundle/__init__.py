"""Runtime bundles: an image as the rootfs and config.json that runc and crun start (runtime-spec, bundle.md)."""

from runtimeimg.bundle.values import ALLOWED, STAGES, Bundle, BundleOptions, Hook, IdRange, Mount, Rootless
from runtimeimg.bundle.writing import plan_config, write

__all__ = [
    "ALLOWED",
    "STAGES",
    "Bundle",
    "BundleOptions",
    "Hook",
    "IdRange",
    "Mount",
    "Rootless",
    "plan_config",
    "write",
]
