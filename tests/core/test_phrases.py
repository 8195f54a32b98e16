"""Phrases and names that a text shows."""

from minibert.corruption import phrases


def test_phrases_and_names_are_those_that_a_text_shows():
    text = [["We met New York friends in New York.", "The machine learning of New York is machine learning."]] * 9
    assert phrases.names(phrases.capitalised(text)) == ["New York"]
    filler = [[f"word{i} other{i} the a machine the learning" for i in range(400)]]
    found = phrases.collocations(phrases.words([*text, *filler, *text]), 20)
    assert "new york" in found
    assert not {"the a", "a machine", "is machine", "machine the"}.intersection(found)
