//! How the servers of this dialect differ.

use crate::dialects::conversation::{Family, Wish};

/// Whose server it is, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habits {
    /// `OpenAI`, and Azure's `OpenAI`: all of its own settings, and no others.
    OpenAi,
    /// `DeepSeek`: thinks by `thinking.type`, and refuses calls in the history without their thoughts ("Thinking mode").
    DeepSeek,
    /// Groq: refuses what it does not know, thoughts too ("`OpenAI` compatibility").
    Groq,
    /// Mistral: refuses what it does not know, `stream_options` too, and says what a stream cost unasked.
    Mistral,
    /// Any other, of which the model's name tells what it knows.
    Other,
}

impl Habits {
    pub(super) fn is_openai(self) -> bool {
        self == Self::OpenAi
    }

    /// The name of the limit of an answer. `OpenAI`'s reasoning models refuse the old one, and most others know only that.
    pub(super) fn limit(self) -> &'static str {
        if self.is_openai() { "max_completion_tokens" } else { "max_tokens" }
    }

    /// The name of the seed.
    pub(super) fn seed(self) -> &'static str {
        if self == Self::Mistral { "random_seed" } else { "seed" }
    }

    /// Whether a stream must be asked what it costs.
    pub(super) fn asks_usage(self) -> bool {
        self != Self::Mistral
    }

    /// Whether the server knows a setting that most know.
    pub(super) fn takes(self, wish: Wish) -> bool {
        let unknown: &[Wish] = match self {
            Self::OpenAi | Self::Other => &[],
            Self::DeepSeek => &[Wish::N, Wish::Seed, Wish::LogitBias, Wish::ParallelToolCalls],
            Self::Groq => &[Wish::N, Wish::Logprobs, Wish::TopLogprobs, Wish::LogitBias],
            Self::Mistral => &[Wish::Logprobs, Wish::TopLogprobs, Wish::LogitBias],
        };
        !unknown.contains(&wish)
    }

    /// Whether a message may say the name of who speaks.
    pub(super) fn takes_names(self) -> bool {
        !matches!(self, Self::Groq | Self::Mistral)
    }

    /// Whether the model wants its thoughts back beside its calls: the thinking models of `DeepSeek` and Moonshot refuse a
    /// history without them. What was made of these for others to run does not think.
    pub(super) fn wants_thoughts(self, model: &str) -> bool {
        match self {
            Self::DeepSeek => true,
            Self::Other => thinks_openly(model),
            Self::OpenAi | Self::Groq | Self::Mistral => false,
        }
    }

    /// Whether the model is switched between thinking and not by `thinking.type`.
    pub(super) fn has_switch(self, model: &str) -> bool {
        self == Self::DeepSeek || (self == Self::Other && thinks_openly(model) && !model.contains('/'))
    }

    /// Whose signatures the server takes back: a router's, by the model's family.
    pub(super) fn family(self, model: &str) -> Option<Family> {
        let (maker, name) = model.split_once('/').filter(|_| self == Self::Other)?;
        match maker.trim_start_matches('~') {
            "anthropic" => Some(Family::Anthropic),
            "google" if name.starts_with("gemini") => Some(Family::Gemini),
            "openai" if !name.starts_with("gpt-oss") => Some(Family::OpenAi),
            _ => None,
        }
    }

    /// Whether the server knows `OpenRouter`'s `reasoning`. Google has models of the same name and does not.
    pub(super) fn has_reasoning(self, model: &str) -> bool {
        matches!(self.family(model), Some(Family::Anthropic | Family::OpenAi))
    }

    /// Whether the server takes Gemini's signatures on calls: Google's own, or a router to it.
    pub(super) fn takes_call_signatures(self, model: &str) -> bool {
        self == Self::Other && contains(model, &["gemini"])
    }

    /// Whether the server takes markers of what is to be cached.
    pub(super) fn takes_cache(self, model: &str) -> bool {
        self == Self::Other && contains(model, &["claude", "gemini"])
    }

    /// What `OpenAI`'s models call no thinking, as far as they can do without.
    pub(super) fn no_effort(model: &str) -> Option<&'static str> {
        let name = model.rsplit('/').next().unwrap_or(model);
        if name.starts_with("gpt-5.") {
            Some("none")
        } else if name.starts_with("gpt-5") {
            Some("minimal")
        } else {
            None
        }
    }

    /// Whether the model is one of `OpenAI`'s that always think.
    pub(super) fn always_thinks(model: &str) -> bool {
        ["o1", "o3", "o4"].iter().any(|start| model.starts_with(start))
    }
}

fn thinks_openly(model: &str) -> bool {
    contains(model, &["deepseek", "kimi", "glm", "minimax", "mimo"]) && !contains(model, &["instruct", "distill"])
}

fn contains(model: &str, words: &[&str]) -> bool {
    let model = model.to_ascii_lowercase();
    words.iter().any(|word| model.contains(word))
}
