//! What is said: seeded prose about mills, water and streams, cut into word-like tokens.

/// A small seeded generator (`SplitMix64`): fast, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let at = self.below(list.len());
        list.get(at).copied().unwrap_or_default()
    }
}

/// FNV-1a: turns texts into seeds.
pub(super) fn hash(seed: u64, text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Sentences with slots: `@` a place, `%` a way of moving, `~` a time. None is longer than 20 words, so a text
/// that stops after 100 words has at most 120.
const SENTENCES: &[&str] = &[
    "The wheel below @ turns % as long as the water keeps coming.",
    "A stream does not ask how many other streams there are; it simply finds its way down.",
    "~, the miller opens the sluice a hand's breadth and listens.",
    "Grain goes in at the top, flour comes out below, and the river does the rest.",
    "Past @ the water moves %, carrying leaves, light and a little sand.",
    "No stone is in a hurry here, and yet the sacks are always full in time.",
    "Where two brooks meet, neither of them waits for the other.",
    "~, the race runs clear and the paddles dip one after another.",
    "A good mill wastes nothing: what the wheel cannot use flows on past @.",
    "Swallows nest under the beams and have long stopped minding the noise.",
    "The pond behind @ is only patience, stored for a dry week.",
    "Somebody once counted the turns of the wheel and fell asleep before the thousandth.",
    "Water remembers no promises, but it keeps the slope it was given.",
    "Each cog meets its neighbour %, tooth by tooth, and nothing is lost between them.",
    "~, mist lies over the weir and the whole valley smells of wet oak.",
    "If the gate is set well, a flood passes % and the stones never notice.",
    "Follow the brook from @ and you will arrive at the sea without one wrong turn.",
    "The old rule still holds: narrow the channel for speed, widen it for calm.",
];

const PLACES: &[&str] = &[
    "the stone bridge",
    "the alder wood",
    "the upper meadow",
    "the old weir",
    "the chapel hill",
    "the willow bank",
    "the ford",
    "the mossy dam",
];
const WAYS: &[&str] =
    &["steadily", "without haste", "quietly", "in an even rhythm", "almost unseen", "lightly", "as ever"];
const TIMES: &[&str] = &[
    "At dawn",
    "In early spring",
    "After the rain",
    "Late in the evening",
    "On still days",
    "Before the harvest",
];

/// A pleasant text of 40 to 120 words that follows from `seed` alone.
pub(super) fn prose(seed: u64) -> String {
    let mut rng = Rng::new(seed);
    let words_min = 40 + rng.below(61);
    let mut order: Vec<&str> = SENTENCES.to_vec();
    let mut text = String::new();
    let mut words = 0;
    while words < words_min && !order.is_empty() {
        let sentence = order.swap_remove(rng.below(order.len()));
        let before = text.len();
        if before > 0 {
            text.push(' ');
        }
        for letter in sentence.chars() {
            match letter {
                '@' => text.push_str(rng.pick(PLACES)),
                '%' => text.push_str(rng.pick(WAYS)),
                '~' => text.push_str(rng.pick(TIMES)),
                other => text.push(other),
            }
        }
        words += text.get(before..).map_or(0, |added| added.split_whitespace().count());
    }
    text
}

/// A text and where its tokens end.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    text: String,
    ends: Vec<usize>,
}

/// Letters of the longest token.
const TOKEN_LETTERS_MAX: usize = 10;

impl Tokens {
    /// Cuts `text`: a token is a word with the space before it, or a run of other signs.
    pub(super) fn of(text: String) -> Self {
        let mut ends = Vec::with_capacity(text.len() / 4);
        let mut letters = 0;
        let mut word = false;
        for (at, letter) in text.char_indices() {
            let in_word = letter.is_alphanumeric();
            let fresh = letter == ' '
                || (in_word != word
                    && letters > 0
                    && !(in_word && letters == 1 && text.as_bytes().get(at - 1) == Some(&b' ')));
            if at > 0 && (fresh || letters >= TOKEN_LETTERS_MAX) {
                ends.push(at);
                letters = 0;
            }
            word = in_word;
            letters += 1;
        }
        if !text.is_empty() {
            ends.push(text.len());
        }
        Self { text, ends }
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Token `at`, or nothing beyond the end.
    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..end)
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Keeps the first `max` tokens and says whether that took anything away.
    pub(super) fn truncate(&mut self, max: usize) -> bool {
        if max >= self.ends.len() {
            return false;
        }
        self.ends.truncate(max);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        true
    }
}

/// How many tokens `text` has, counted as [`Tokens::of`] does.
pub(super) fn count(text: &str) -> usize {
    Tokens::of(text.to_owned()).len()
}
