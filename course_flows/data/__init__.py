"""Data sets: 2-D toy densities, images and tables. Nothing here downloads unless it is asked to."""

from course_flows.data import toy
from course_flows.data.images import ImageData, load_images
from course_flows.data.source import DataError
from course_flows.data.splits import TabularSplit, Units, load_split, split_table
from course_flows.data.tabular import TabularData, load_tabular

__all__ = [
    "DataError",
    "ImageData",
    "TabularData",
    "TabularSplit",
    "Units",
    "load_images",
    "load_split",
    "load_tabular",
    "split_table",
    "toy",
]
