"""Countability and plural forms of English noun phrases.

The plural is formed on the head of the phrase: the last word, or the noun before a preposition (``lilies of the valley``), or the first part of a
few fixed compounds (``attorneys general``). The number of an object is first what a reviewer wrote; the rule here covers the rest: a noun that
the inflection lexicon knows as invariant, or whose plural is rare beside its singular, is mass if it hangs under a substance, food or fabric.
"""

from __future__ import annotations

import re

from word_data import WordData

IRREGULAR = {
    "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice", "louse": "lice",
    "ox": "oxen", "wolf": "wolves", "leaf": "leaves", "loaf": "loaves", "knife": "knives", "wife": "wives", "half": "halves", "calf": "calves",
    "elf": "elves", "shelf": "shelves", "thief": "thieves", "sheaf": "sheaves", "hoof": "hooves", "scarf": "scarves", "life": "lives",
    "person": "people", "die": "dice", "titmouse": "titmice", "dormouse": "dormice", "passerby": "passersby", "buffalo": "buffaloes",
    "genus": "genera", "ovum": "ova", "larva": "larvae", "pupa": "pupae", "nucleus": "nuclei", "bacterium": "bacteria", "vertebra": "vertebrae",
    "axis": "axes", "crisis": "crises", "basis": "bases", "phalanx": "phalanges", "stamen": "stamens", "iris": "irises", "lens": "lenses",
    "cactus": "cacti", "fungus": "fungi", "octopus": "octopuses", "hippopotamus": "hippopotamuses", "bus": "buses", "gas": "gases",
    "yes": "yeses", "quiz": "quizzes", "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "hero": "heroes", "echo": "echoes",
    "torpedo": "torpedoes", "volcano": "volcanoes", "mosquito": "mosquitoes", "tornado": "tornadoes", "domino": "dominoes", "negative": "negatives",
    "still life": "still lifes", "lowlife": "lowlifes", "roof": "roofs", "dwarf": "dwarfs", "chief": "chiefs", "staff": "staffs", "turf": "turfs",
    "talus": "tali", "radius": "radii", "stimulus": "stimuli", "bay leaf": "bay leaves", "pince-nez": "pince-nez", "chassis": "chassis",
    "corps": "corps", "faux pas": "faux pas", "rendezvous": "rendezvous", "patois": "patois", "chamois": "chamois", "bourgeois": "bourgeois",
    "datum": "data", "medium": "media", "stratum": "strata", "criterion": "criteria", "phenomenon": "phenomena", "alumnus": "alumni",
    "alumna": "alumnae", "oasis": "oases", "formula": "formulas", "index": "indexes", "appendix": "appendixes", "matrix": "matrices",
    "testis": "testes", "pelvis": "pelvises", "clitellum": "clitella", "ellipsis": "ellipses", "synapsis": "synapses", "biceps": "biceps", "triceps": "triceps",
    "forceps": "forceps", "crossroads": "crossroads", "barracks": "barracks", "gallows": "gallows", "headquarters": "headquarters", "means": "means",
    "innings": "innings", "series": "series", "species": "species", "works": "works", "gasworks": "gasworks", "waterworks": "waterworks",
    "ironworks": "ironworks", "steelworks": "steelworks", "oryx": "oryxes", "lynx": "lynxes", "hoodoo": "hoodoos", "beau": "beaux", "bureau": "bureaus",
    "plateau": "plateaus", "chateau": "chateaux", "gateau": "gateaux", "tableau": "tableaux", "trousseau": "trousseaux", "antenna": "antennas", "mongoose": "mongooses", "diva": "divas", "colon": "colons",
}  # fmt: skip
INVARIANT = frozenset(
    "sheep deer moose elk bison swine trout salmon cod haddock mackerel carp pike plaice bass halibut herring tuna turbot grouper squid shrimp caribou "
    "aircraft spacecraft hovercraft watercraft seacraft rotorcraft grouse whitefish fish shellfish cattle offspring reindeer roe char smelt "
    "hake pollack pollock sole shad antelope wildebeest waterfowl wildfowl menhaden sauger tilapia barramundi mahimahi pompano snook tarpon".split()
)
REGULAR_MAN = frozenset(
    "human roman german norman shaman talisman caiman cayman ottoman desman hetman brahman ataman dragoman saman toman leman liman dolman doberman soman "
    "everyman".split()
)
MASS_HEADS = frozenset(
    "sauce dressing juice powder sugar oil lotion paint gum feed grass millet water syrup relish meat soup mix glass paper foil tape cloth fabric wood "
    "leather linen wiring furniture equipment gear clothing underwear hosiery jewelry luggage baggage ware glassware silverware tableware kitchenware "
    "cookware ironware hardware footwear sportswear menswear knitwear plywood lumber timber thatch masonry stonework brickwork woodwork ironwork "
    "latticework metalwork wicker scenery litter debris rubble gravel sand soil mud clay snow ice rain hail fog mist smoke sunlight moonlight candlelight "
    "lamplight firelight torchlight lightning flour bread butter margarine rice pasta cheese cream milk mustard ketchup mayonnaise honey jam jelly "
    "tofu bacon beef pork veal venison mutton lamb food fodder hay straw silage mulch compost wax soap shampoo detergent makeup mascara toothpaste "
    "perfume incense chalk charcoal coal ash granite marble limestone sandstone slate tweed tartan flannel denim corduroy silk satin velvet wool cotton "
    "lace linen muslin canvas felt fleece twine thread yarn string wire mesh netting fencing paneling cladding bedding upholstery stuffing padding "
    "ammunition artillery weaponry armor armour money cash currency toast gingerbread baklava guacamole salsa sushi chutney pickle rum vodka brandy "
    "ivory ebony mahogany teak plastic rubber concrete cement plaster putty tar asphalt moss lichen seaweed algae kelp clover heather lavender wheat "
    "barley rye corn oats parsley basil thyme mint sage rosemary oregano dill garlic ginger cinnamon pepper spinach broccoli celery asparagus kale".split()
)
NOT_MASS = frozenset({"pickle", "lamb", "string", "mint", "pepper", "glass", "lace", "netting", "oats", "jelly", "slate", "wood"})
PLURAL_HEADS = frozenset("glasses sunglasses eyeglasses scissors trousers pants shorts jeans tights leggings pajamas pliers tongs tweezers shears goggles briefs".split())
EITHER_HEADS = frozenset(
    "beer ale lager stout wine coffee tea whiskey whisky champagne lemonade soda cake pie pizza salad steak ham ice-cream pudding custard yogurt chicken "
    "turkey lobster salmon tuna trout cod stew curry casserole chowder dip cocktail cider punch".split()
)
HYPHENATED = {
    "mother-in-law": "mothers-in-law", "man-of-war": "men-of-war", "man-at-arms": "men-at-arms", "sergeant-at-arms": "sergeants-at-arms",
    "lady-in-waiting": "ladies-in-waiting", "master-at-arms": "masters-at-arms", "gentleman-at-arms": "gentlemen-at-arms", "passer-by": "passers-by",
    "hanger-on": "hangers-on", "runner-up": "runners-up", "looker-on": "lookers-on", "man-eater": "man-eaters", "knight-errant": "knights-errant",
    "serjeant-at-law": "serjeants-at-law", "commander-in-chief": "commanders-in-chief", "second-in-command": "seconds-in-command",
    "maid-in-waiting": "maids-in-waiting", "coat-of-mail": "coats-of-mail", "court-martial": "courts-martial",
}  # fmt: skip
POSTPOSED = {"general": "attorney solicitor postmaster governor inspector", "royal": "princess", "laureate": "poet", "apostolic": "vicar",
             "errant": "knight", "palatine": "count", "martial": "court", "dowager": "queen", "regent": "queen", "consort": "queen",
             "bachelor": "knight", "banneret": "knight"}  # fmt: skip
PREPOSITIONS = frozenset("of in on at with for by from de du des à la under to over".split())
GENERIC_LAST = frozenset("plant flower shrub tree mushroom fern grass orchid lily vine moth butterfly fish sponge cactus costume".split())
"""After these a preposition inside the name does not make its first noun the head: ``string of pearls plants``."""
COMPOUND_ENDINGS = "woman child mouse louse goose tooth foot wolf leaf loaf knife shelf wife calf".split()
INVARIANT_ENDINGS = ("aircraft", "watercraft", "spacecraft", "hovercraft", "rotorcraft")


class Inflector:
    """Plurals and number with the lexicon, the frequencies and the genus names of the build at hand."""

    def __init__(self, data: WordData, genera: frozenset[str]) -> None:
        self.data = data
        self.genera = genera

    def plural(self, name: str, lexname: str) -> str:
        """The plural of a noun phrase; Latin binomials stay as they are, as in ``three Abies alba``."""
        if self.is_binomial(name):
            return name
        if name.lower() in IRREGULAR:
            return IRREGULAR[name.lower()]
        words = name.split(" ")
        at = self.head(words)
        words[at] = self._hyphenated(words[at], lexname)
        return " ".join(words)

    def is_binomial(self, name: str) -> bool:
        """Whether the name is a genus and an epithet: ``Abies alba``, but not ``Iris garden``."""
        match = re.fullmatch(r"([A-Z][a-z]+)( x)? ([a-z-]+)", name)
        return bool(match and match[1].lower() in self.genera and match[3] not in self.data.plurals)

    def head(self, words: list[str]) -> int:
        """The place of the word that takes the plural."""
        last = len(words) - 1
        if len(words) == 2 and words[0].lower() in POSTPOSED.get(words[1], "").split():
            return 0
        if words[last] in GENERIC_LAST:
            return last
        for at in range(1, last):
            if words[at] in PREPOSITIONS and (words[at - 1].lower() in self.data.plurals or words[at - 1][:-1].lower() in self.data.plurals):
                return at - 1
        return last

    def _hyphenated(self, word: str, lexname: str) -> str:
        lower = word.lower()
        if lower in HYPHENATED:
            return HYPHENATED[lower]
        stem, hyphen, last = word.rpartition("-")
        if stem and (last in ("in", "up", "out", "off", "on", "down", "by", "over", "away", "back") or re.search("-(of|in|on|at|me|the|and|o|a)-", word)):
            return regular_plural(word)
        return stem + hyphen + self._token(last, lexname)

    def _token(self, word: str, lexname: str) -> str:
        lower, plurals = word.lower(), self.data.plurals
        if lower in IRREGULAR:
            return _match_case(IRREGULAR[lower], word)
        if lower in INVARIANT or lower.endswith(INVARIANT_ENDINGS) or (lexname in ("animal", "food") and lower.endswith("fish")):
            return word
        if lower.endswith("s") and lower not in plurals and lower[:-1] in plurals and not lower.endswith("ss"):
            return word
        if len(word) > 1 and word.isupper():
            return word + "s"
        if lower.endswith("bus"):
            return word + "es"
        if lower.endswith("man") and lower not in REGULAR_MAN and len(lower) > 4:
            return word[:-3] + "men"
        for ending in COMPOUND_ENDINGS:
            if lower.endswith(ending) and lower not in ("blouse",) and not (lexname == "plant" and ending in ("foot", "tooth", "leaf", "wolf")):
                return word[: -len(ending)] + IRREGULAR[ending]
        known = [form for form in plurals.get(word, plurals.get(lower, ())) if form.lower() != lower]
        if known:
            chosen = max(known, key=lambda form: (round(self.data.zipf(form), 1), form == regular_plural(lower), form))
            return _match_case(chosen, word)
        return regular_plural(word)

    def number(self, name: str, lexname: str, can_be_mass: bool) -> str:
        """``count``, ``mass``, ``plural`` or ``either``; ``can_be_mass`` says that it hangs under a substance, food or fabric."""
        lower = name.lower()
        head = re.split(r"[ -]", lower)[-1]
        if lexname in ("person", "animal"):
            return "plural" if head in ("cattle", "police", "people") else "count"
        if self.is_binomial(name) or re.search(r" (of|in|on|with) ", lower):
            return "count"
        if head in PLURAL_HEADS:
            return "plural"
        if head in MASS_HEADS and can_be_mass and (head not in NOT_MASS or (" " in name and lexname not in ("artifact", "food"))):
            return "mass"
        if head in EITHER_HEADS and lexname == "food":
            return "either"
        forms = self.data.plurals.get(head)
        only_itself = forms is not None and set(forms) == {head}
        looks_plural = head.endswith("s") and not head.endswith(("ss", "us", "is", "as", "os", "ns"))
        if looks_plural and head not in ("asparagus", "hummus", "couscous"):
            singular = head[:-1] in self.data.plurals and self.data.zipf(head) > self.data.zipf(head[:-1]) + 0.3
            if only_itself or (forms is None and singular):
                return "plural"
        if only_itself:
            return "mass" if can_be_mass or lexname not in ("plant", "body") else "count"
        return self._by_frequency(head, lexname, forms) if can_be_mass else "count"

    def _by_frequency(self, head: str, lexname: str, forms: tuple[str, ...] | None) -> str:
        """A noun that can be mass: it is the more so, the rarer its plural is beside it."""
        plural = self._token(head, lexname)
        alone = self.data.zipf(head)
        ratio = self.data.zipf(plural if plural != head else regular_plural(head)) - alone
        if lexname == "substance":
            mass, either = -0.7, -0.2
        elif alone < 2 or (forms is not None and head in forms):
            mass, either = -1.3, -0.6
        else:
            mass, either = -1.8, -1.2
        if ratio < mass or (lexname == "substance" and alone < 2):
            return "mass"
        return "either" if ratio < either else "count"


def regular_plural(word: str) -> str:
    """The regular spelling rule."""
    lower = word.lower()
    if re.search(r"[^aeiou]y$", lower) and not word[:1].isupper():
        return word[:-1] + "ies"
    if lower.endswith("sis"):
        return word[:-2] + "es"
    if re.search(r"(s|x|z|ch|sh)$", lower):
        return word + "es"
    return word + "s"


def _match_case(form: str, like: str) -> str:
    return form[:1].upper() + form[1:] if like[:1].isupper() else form
