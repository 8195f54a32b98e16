"""Looking into models: attention maps and the walk of a text, as numbers and as what a reader finds on the pages."""

import base64
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from test_filling import TEXT, encoder

import minibert
from minibert import cli, inference, tree
from minibert.analysis import attention, explained, explanation, pictures
from minibert.errors import InputError
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.wordpiece import WordPiece

SAID = "the cat sat on a <b>mat</b>"


@pytest.fixture(scope="module")
def bert():
    return encoder("bert", WordPiece.train(TEXT * 3, 60), max_position_embeddings=40)


@pytest.fixture(scope="module")
def bart():
    tokenizer = ByteLevelBPE.train(TEXT * 3, 280)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}  # fmt: skip
    model = minibert.create("bart", seed=1, dtype="float64", vocab_size=len(tokenizer), max_position_embeddings=40,
                            **sizes)  # fmt: skip
    model.tokenizer = tokenizer
    return model


class Tables(HTMLParser):
    """The numbers of every table with a caption, row by row, and all text of the page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self.tag, self.caption = {}, [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        if tag == "tr" and self.caption is not None:
            self.found[self.caption].append([])

    def handle_endtag(self, tag):
        if tag == "table":
            self.caption = None

    def handle_data(self, data):
        self.text.append(data)
        if self.tag == "caption":
            self.caption, self.tag = data, ""
            self.found[data] = []
        elif self.tag == "td" and self.caption is not None:
            self.found[self.caption][-1].append(float(data))

    def numbers(self, start):
        (caption,) = (name for name in self.found if name.startswith(start))
        return np.array(self.found[caption][1:])


def close(page, due):
    """Equal to six digits."""
    np.testing.assert_allclose(page, due, rtol=5.1e-6, atol=1e-300)


# ---- Attention -------------------------------------------------------------------------------------------------------
def test_maps_are_the_attentions_of_the_model(bert):
    found = attention.maps(bert, SAID)
    due = bert.encode(input_ids=[bert.tokenizer.encode(SAID).ids], outputs=["attentions"])["attentions"]
    assert [one.name for one in found] == ["encoder.0", "encoder.1"]
    for one, weights in zip(found, due, strict=True):
        np.testing.assert_array_equal(one.weights, weights[0])
        assert one.asking == one.asked == bert.tokenizer.encode(SAID).tokens


def test_a_decoder_asks_itself_and_its_source(bart):
    found = {one.name: one for one in attention.maps(bart, "the cat sat", target="a dog")}
    source, target = (bart.tokenizer.encode(text).tokens for text in ("the cat sat", "a dog"))
    assert [*found] == ["encoder.0", "decoder.0", "decoder.0.cross_attention"]
    start = bart.tokenizer.tokens[bart.config.decoder_start_token_id]
    for one, asking, asked in zip(found.values(), (source, [start, *target[:-1]], [start, *target[:-1]]),
                                  (source, [start, *target[:-1]], source), strict=True):  # fmt: skip
        assert (one.asking, one.asked) == (asking, asked)
        assert one.weights.shape == (2, len(asking), len(asked))
        np.testing.assert_allclose(one.weights.sum(-1), 1)
    assert np.triu(found["decoder.0"].weights[0], 1).max() == 0 < np.triu(found["encoder.0"].weights[0], 1).max()
    written = bart.generate(**bart.module.read([bart.tokenizer.encode("the cat sat")], bart.tokenizer.pad_id))
    assert len(attention.maps(bart, "the cat sat")[1].asking) == written.shape[1]


def test_who_has_no_target_says_so(bert, bart):
    with pytest.raises(InputError, match="bert reads one text: there is no target"):
        attention.maps(bert, SAID, target="a dog")
    with pytest.raises(InputError, match="bert writes no text for another"):
        explanation.walked(bert, SAID, target="a dog")
    with pytest.raises(InputError, match="the text has 83 tokens, this model takes 40"):
        attention.maps(bert, "cat " * 81)


def test_a_picture_has_a_pixel_a_number():
    grid = np.array([[0.25, 0, -1], [1, np.nan, 0.01]])
    data = base64.b64decode(pictures.image(grid).partition(",")[2])
    packed = data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8]
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(2, 1 + 3 * 4)
    pixels = lines[:, 1:].reshape(2, 3, 4)
    assert not lines[:, 0].any()
    assert pixels[..., 3].tolist() == [[128, 0, 255], [255, 0, 26]]
    assert pixels[0, 0, :3].tolist() == list(pictures.SHADE)
    assert pixels[0, 2, :3].tolist() == list(pictures.BELOW)


# ---- The walk --------------------------------------------------------------------------------------------------------
def test_every_number_on_the_page_is_the_engines(bert):
    found = explanation.walked(bert, SAID, hide=2)
    tables = Tables(explained.page(found, bert, SAID))
    ids = np.array([bert.tokenizer.encode(SAID).ids])
    asked, ids[0, 2] = ids[0, 2], bert.tokenizer.mask_id
    batch = {"input_ids": ids, "masked_lm_positions": [[2]], "masked_lm_ids": [[asked]], "masked_lm_weights": [[1.0]],
             "next_sentence_labels": [0]}  # fmt: skip
    loss, cache = bert.loss(batch)
    gradient = bert.loss_backward(cache)
    out = bert.encode(input_ids=ids)
    assert found.loss == loss
    assert f"The loss is {loss:.6g}" in "".join(tables.text)
    close(tables.numbers("encoder.1.feed_forward.add_norm.norm, what it gives"), out["last_hidden_state"][0])
    close(tables.numbers("encoder.0.attention.attention, weights of head 1"), out["attentions"][0][0, 1])
    close(tables.numbers("embeddings.tables.position, d loss / d that"),
          gradient["embeddings"]["position"]["weight"][: ids.size])  # fmt: skip
    back = tables.numbers("encoder.1.feed_forward.out, d loss / d that")  # rounded before they are added
    due = gradient["encoder"][1]["feed_forward"]["out"]["bias"]
    np.testing.assert_allclose(back.sum(0), due, rtol=0, atol=5e-6 * np.abs(back).sum(0).max())
    bars = r'<th scope="row">([\w.]+)<td>([\d.e+-]+)<td class="bar">'
    norms = dict(re.findall(bars, explained.page(found, bert, SAID)))
    assert norms.keys() >= {*tree.flatten(gradient)}
    for path, array in tree.flatten(gradient).items():
        close(float(norms[path]), np.linalg.norm(array))
    (best, *_), = inference.masked_words(bert, "the [MASK] sat on a <b>mat</b>", 1)
    assert found.guesses[0] == best


def test_the_page_is_whole_without_anything_else(bert):
    page = explained.page(explanation.walked(bert, SAID), bert, SAID)
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert not re.search(r"<script|https?://(?!www\.w3)|src=|<link", page)
    links, places = re.findall(r'href="#([^"]+)"', page), re.findall(r'<section id="([^"]+)"', page)
    assert links == places
    assert len(links) == len({*links}) > 5


def test_a_decoder_is_asked_for_each_next_token():
    tokenizer = ByteLevelBPE.train(TEXT * 3, 280)
    model = minibert.create("gpt2", seed=2, dtype="float64", vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2)
    model.tokenizer = tokenizer
    found, ids = explanation.walked(model, SAID), [tokenizer.encode(SAID).ids]
    assert found.loss == model.loss({"input_ids": ids, "labels": ids})[0]
    assert found.hidden is None
    assert all(stop.back is not None for stop in found.stops)


def test_an_encoder_with_a_decoder_is_asked_for_its_target(bart):
    found = explanation.walked(bart, "the cat sat", target="a dog")
    ids = [bart.tokenizer.encode(text).ids for text in ("the cat sat", "a dog")]
    assert found.loss == pytest.approx(float(bart.loss({"input_ids": [ids[0]], "labels": [ids[1]]})[0]), rel=1e-15)
    cross = next(stop for stop in found.stops if stop.path.endswith("cross_attention.attention"))
    assert cross.weights.shape == (2, len(ids[1]), len(ids[0]))
    assert (len(cross.names), len(cross.asked)) == (len(ids[1]), len(ids[0]))


def test_without_labels_that_a_text_says_there_is_no_way_back():
    tokenizer = WordPiece.train(TEXT * 3, 60)
    model = encoder("spanbert", tokenizer, max_position_embeddings=40)
    found = explanation.walked(model, SAID)
    page = explained.page(found, model, SAID)
    assert (found.loss is None) == ("the walk has no way back" in page)
    assert found.stops


def test_classes_are_no_tokens(bert):
    """A text does not say its tags: a tagger has no way back."""
    tagger = bert.with_task("tag", classes=2)
    walk = explanation.walked(tagger, "the value of a list")
    assert walk.loss is None
    assert all(stop.back is None for stop in walk.stops)


def test_a_hidden_place_has_to_be_the_texts(bert):
    with pytest.raises(InputError, match=r"hide 0: '\[CLS\]' is no token of the text; there are \[1, "):
        explanation.walked(bert, SAID, hide=0)
    with pytest.raises(InputError, match="hide"):
        explanation.walked(bert, SAID, hide=99)


def test_a_page_of_a_deep_model_is_at_most_a_megabyte():
    tokenizer = WordPiece.train(TEXT * 3, 60)
    model = encoder("bert", tokenizer, hidden_size=24, num_hidden_layers=12, num_attention_heads=12,
                    max_position_embeddings=64)  # fmt: skip
    text = "the cat sat on the mat, a dog is not a cat, is it?"
    found = explanation.walked(model, text)
    assert len(found.tokens) > 16
    page = explained.page(found, model, text)
    assert 400_000 < len(page.encode()) <= 1_000_000
    assert "of 12 heads" in page
    with pytest.raises(InputError, match=r"62 tokens at .* give a shorter text"):
        explained.page(explanation.walked(model, "cat " * 60), model, text)


def test_the_commands_write_whole_pages(bert, tmp_path, capsys):
    bert.save(tmp_path / "bert")
    directory = str(tmp_path / "bert")
    for name in ("maps.svg", "maps.html"):
        assert cli.main(["attention", directory, SAID, "-o", str(tmp_path / name)]) == 0
    assert "4 heads in 2 calls of attention" in capsys.readouterr().out
    picture = (tmp_path / "maps.svg").read_text(encoding="utf-8")
    assert picture.count("<image") == 4
    assert len(Tables((tmp_path / "maps.html").read_text(encoding="utf-8")).found) == 4
    assert cli.main(["explain", directory, SAID, "--html", str(tmp_path / "page.html")]) == 0
    assert "32 stops" in capsys.readouterr().out
    assert cli.main(["attention", directory, SAID, "-o", "maps.png"]) == 2
    assert capsys.readouterr().err == "minibert: error: --output maps.png: the name must end in .svg or .html\n"
    assert cli.main(["explain", directory, "two", "words", "--html", str(tmp_path / "no.html")]) == 2
    assert "put the text into quotation marks" in capsys.readouterr().err
