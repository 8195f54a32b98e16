"""`minibert align`: see `minibert.analysis.languages`."""

import argparse
import itertools
from typing import Any

from minibert import commands, corpus, parallel, uses
from minibert.analysis import languages
from minibert.config import require, whole
from minibert.options import ending
from minibert.progress import doing

LONGEST = 512  # tokens of a sentence


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "which layer finds a word's translation"
    more = ("A word's vector is the mean of its states over the sentences of its language's text. Of each pair of the "
            "dictionary it is asked how many words of the second language are as near by cosine as the translation; "
            "said is the mean of 1 over that rank, as the vectors are and less their language's mean.")  # fmt: skip
    examples = ending("align runs/bert dictionary.tsv en.txt de.txt",
                      "align runs/word2vec dictionary.tsv en.txt de.txt --most 5000")  # fmt: skip
    command = commands.add_parser("align", help=about, description=f"Shows {about}. {more}", epilog=examples)
    command.set_defaults(run=_align)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    pairs = "pairs of words: with a tab between them, or JSON lines"
    command.add_argument("dictionary", metavar="DICTIONARY", help=pairs)
    command.add_argument("one", metavar="ONE", help="text in the language of the first words")
    command.add_argument("other", metavar="OTHER", help="text in the language of the second")
    most = "read at most so many sentences of each; default 2000"
    command.add_argument("--most", type=int, default=2000, metavar="N", help=most)


def _align(args: argparse.Namespace) -> None:
    most = whole("--most", args.most, 1)
    pairs = [*parallel.pairs([args.dictionary])]
    with commands.opened(args.directory) as model:
        length = uses.longest(model, LONGEST)
        sides = []
        for n, path in enumerate((args.one, args.other)):
            known = {pair[n].lower() for pair in pairs}
            texts = itertools.islice((text for document in corpus.Files([path]) for text in document), most)
            with doing(f"reading {path}"):
                sides.append(languages.words(model, texts, known, length))
        found = languages.met(*sides, pairs)
        few = f"{args.dictionary}: of its {len(pairs):,} pairs {len(found)} stand in both texts, and two are due"
        require(len(found) > 1, f"{few}, to be told apart: give more text, or pairs of its words")
        ranks = languages.alignment(*sides, found)
        print(f"{len(found):,} of {len(pairs):,} pairs stand in both texts; "
              f"by chance {sum(1 / n for n in range(1, len(found) + 1)) / len(found):.4f}")  # fmt: skip
        print(f"  {'':<12}{'as it is':>10}{'less mean':>11}")
        for i, (plain, centred) in enumerate(ranks):
            print(f"  {f'layer {i}' if i else 'embeddings':<12}{plain:>10.4f}{centred:>11.4f}")
