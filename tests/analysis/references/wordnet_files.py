"""Small WordNets, one of ten nouns, in the database's own format."""

import pandas as pd

#: synset -> (words, hypernyms, lexicographer file)
TREE = {
    "entity": (["entity"], [], 3),
    "animal": (["animal", "beast"], ["entity"], 5),
    "artifact": (["artifact"], ["entity"], 6),
    "attribute": (["attribute"], ["entity"], 7),
    "dog": (["dog"], ["animal"], 5),
    "cat": (["cat"], ["animal"], 5),
    "lamp": (["lamp"], ["artifact"], 6),
    "streetlight": (["streetlight", "street_light"], ["lamp"], 6),
    "orange_color": (["orange"], ["attribute"], 7),
    "orange_fruit": (["orange"], ["entity"], 13),
}
#: A node with a short and a long way up, where depths by the one and by the other differ.
DIAMOND = {
    "entity": (["entity"], [], 3),
    "near": (["near"], ["entity"], 6),
    "one": (["one"], ["entity"], 6),
    "two": (["two"], ["one"], 6),
    "three": (["three"], ["two"], 6),
    "both": (["both"], ["near", "three"], 6),
}
#: A node with two nearest hypernyms as deep as itself by its short way: nltk's Wu-Palmer of 'both'
#: and 'leaf' hangs on their order.
LOPSIDED = {
    "entity": (["entity"], [], 3),
    "near": (["near"], ["entity"], 6),
    "one": (["one"], ["entity"], 6),
    "alone": (["alone"], ["one"], 6),
    "both": (["both"], ["near", "alone"], 6),
    "leaf": (["leaf"], ["both"], 6),
}
LICENCE = "  1 a licence stands here\n"


def write_wordnet(folder, tree=TREE):
    """Write the files of nouns, and give the folder back."""
    folder.mkdir(parents=True, exist_ok=True)

    def line(name, offsets):
        words, above, kind = tree[name]
        spelled = " ".join(f"{word} 0" for word in words)
        up = "".join(f" @ {offsets[other]:08d} n 0000" for other in above)
        return (
            f"{offsets[name]:08d} {kind:02d} n {len(words):02x} {spelled} {len(above):03d}{up} | "
            f"the meaning of {name}  \n"
        )

    offsets = dict.fromkeys(tree, 0)
    place = len(LICENCE)
    for name in tree:
        offsets[name] = place
        place += len(line(name, offsets))
    (folder / "data.noun").write_text(LICENCE + "".join(line(name, offsets) for name in tree))
    lemmas = {}
    for name, (words, _, _) in tree.items():
        for word in words:
            lemmas.setdefault(word, []).append(offsets[name])
    index = [
        f"{word} n {len(of)} 0 {len(of)} 0 {' '.join(f'{o:08d}' for o in of)}  \n"
        for word, of in sorted(lemmas.items())
    ]
    (folder / "index.noun").write_text(LICENCE + "".join(index))
    (folder / "noun.exc").write_text("oxen ox\n")
    return folder


def concepts(*pairs):
    """A catalogue of names and categories."""
    return pd.DataFrame(pairs, columns=["name", "category"])
