//! The settings of a request, each with the name that the client gave it, so that what a target can't honour can be told
//! by name: whatever its writer does not take.

use std::cell::RefCell;

use serde_json::Value;

/// A setting, whatever dialects call it. The form of each value is that of `OpenAI`'s chat completions where nothing else
/// is said, so that most writers pass it on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Most tokens of the answer, reasoning included.
    MaxTokens,
    /// Number.
    Temperature,
    /// Number.
    TopP,
    /// Whole number.
    TopK,
    /// Number.
    MinP,
    /// Number.
    FrequencyPenalty,
    /// Number.
    PresencePenalty,
    /// Number, 1 is none.
    RepetitionPenalty,
    /// A list of strings, whatever the client wrote.
    Stop,
    /// Whole number.
    Seed,
    /// Choices, above 1.
    N,
    /// `true`: probabilities of the tokens.
    Logprobs,
    /// Alternatives per token.
    TopLogprobs,
    /// Object from token to bias.
    LogitBias,
    /// `false`: one call at a time. (`true` is what everybody does.)
    ParallelToolCalls,
    /// `auto`, `default`, `flex`, `priority`, `scale`: `OpenAI`'s words.
    ServiceTier,
    /// `low`, `medium`, `high`.
    Verbosity,
    /// Gemini's `safetySettings`.
    Safety,
    /// `["text","audio"]`, `["text","image"]`.
    Modalities,
    /// `OpenAI`'s `audio` object: voice and format.
    Audio,
    /// `OpenAI`'s `prediction`.
    Prediction,
    /// The end user, as a string. A hint.
    User,
    /// Object of strings. A hint.
    Metadata,
    /// `true`: the provider keeps the answer. A hint where nothing refers to it.
    Store,
    /// A string that says which requests share a cache. A hint.
    CacheKey,
    /// How long a cache is kept. A hint.
    CacheRetention,
    /// How a local model is loaded and kept: memory, threads, time. A hint.
    Loading,
    /// What no dialect has in common with another, and the answer is the same without. A hint.
    Hint,
    /// What no dialect has in common with another.
    Other,
}

impl Wish {
    /// Whether the answer is the same without it, so that nobody is refused for its sake.
    pub fn is_hint(self) -> bool {
        matches!(
            self,
            Self::User
                | Self::Metadata
                | Self::Store
                | Self::CacheKey
                | Self::CacheRetention
                | Self::ServiceTier
                | Self::Loading
                | Self::Hint
        )
    }
}

/// Settings, in the order in which the client gave them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes(Vec<(Wish, String, Value)>);

impl Wishes {
    /// Adds one, by the name that the client knows it by (`generationConfig.topK`). `null` is no wish. A reader leaves out
    /// what asks for nothing, such as `n` of 1.
    pub fn add(&mut self, wish: Wish, name: impl Into<String>, value: Value) {
        if !value.is_null() {
            self.0.push((wish, name.into(), value));
        }
    }

    /// The value of one, without taking it.
    pub fn get(&self, wish: Wish) -> Option<&Value> {
        self.0.iter().find(|(known, ..)| *known == wish).map(|(.., value)| value)
    }

    /// The value of what the client calls so, without taking it.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(_, known, _)| known == name).map(|(.., value)| value)
    }

    /// For a writer to take from.
    pub fn open(&self) -> Open<'_> {
        Open { wishes: self, taken: RefCell::new(vec![false; self.0.len()]) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Settings of which some have been taken.
#[derive(Debug)]
pub struct Open<'a> {
    wishes: &'a Wishes,
    taken: RefCell<Vec<bool>>,
}

impl<'a> Open<'a> {
    /// The value of one, which is thereby honoured.
    pub fn take(&self, wish: Wish) -> Option<&'a Value> {
        self.take_where(|known, _| known == wish)
    }

    /// Every setting that no dialect shares, by name, which are thereby honoured: for targets of the client's own family.
    pub fn take_others(&self) -> Vec<(&'a str, &'a Value)> {
        let mut taken = self.taken.borrow_mut();
        let others = self.wishes.0.iter().enumerate().filter(|(_, (wish, ..))| *wish == Wish::Other);
        others
            .map(|(at, (_, name, value))| {
                taken[at] = true;
                (name.as_str(), value)
            })
            .collect()
    }

    /// The setting that no dialect shares and that the client calls `name`, which is thereby honoured: for targets that
    /// know it by that name.
    pub fn take_other(&self, name: &str) -> Option<&'a Value> {
        self.take_where(|wish, known| wish == Wish::Other && known == name)
    }

    /// The setting that the client calls `name`, whatever it is: for what few providers have, and all by the same name.
    pub fn take_named(&self, name: &str) -> Option<&'a Value> {
        self.take_where(|_, known| known == name)
    }

    fn take_where(&self, is_wanted: impl Fn(Wish, &str) -> bool) -> Option<&'a Value> {
        let mut wishes = self.wishes.0.iter().enumerate();
        let (at, (.., value)) = wishes.find(|(_, (wish, known, _))| is_wanted(*wish, known))?;
        self.taken.borrow_mut()[at] = true;
        Some(value)
    }

    /// What was not taken: the kind, and the client's name of it.
    pub fn left(&self) -> Vec<(Wish, &'a str)> {
        let taken = self.taken.borrow();
        let all = self.wishes.0.iter().zip(&*taken);
        all.filter(|(_, taken)| !**taken).map(|((wish, name, _), _)| (*wish, name.as_str())).collect()
    }
}
