"""Where a guest's bytes come from: catalogue, recipes, verified cache, seeds, overlays."""

from images.examine import DiskFacts, examine
from images.faults import ImageFault
from images.forms import BusyboxEntry, InstallEntry, KernelPackage, PairEntry, RootfsEntry, Source, boots_of
from images.image import Image
from images.keys import IdentityKeys
from images.load import Catalogue, load_catalogue
from images.model import BuildEntry, PlannedBuild, PublishedEntry, UrlEntry, UserEntry
from images.progress import Reporter
from images.store import Store, left_to_do

__all__ = [
    "BuildEntry",
    "BusyboxEntry",
    "Catalogue",
    "DiskFacts",
    "IdentityKeys",
    "Image",
    "ImageFault",
    "InstallEntry",
    "KernelPackage",
    "PairEntry",
    "PlannedBuild",
    "PublishedEntry",
    "Reporter",
    "RootfsEntry",
    "Source",
    "Store",
    "UrlEntry",
    "UserEntry",
    "boots_of",
    "examine",
    "left_to_do",
    "load_catalogue",
]
