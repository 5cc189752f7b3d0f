//! How the servers of this dialect differ.

use crate::dialects::conversation::Family;

/// What one kind of server wants.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Knows all of `OpenAI`'s own settings, and no others; limits answers by `max_completion_tokens`.
    pub(super) is_openai: bool,
}

/// How a model's name tells what it takes back of its thoughts.
impl Habits {
    /// The name of the limit of an answer. `OpenAI`'s reasoning models refuse the old one, and most others know only that.
    pub(super) fn limit(self) -> &'static str {
        if self.is_openai { "max_completion_tokens" } else { "max_tokens" }
    }

    /// Whether the model wants its plain thoughts back while it calls tools: `DeepSeek` and Moonshot refuse the turn without
    /// them, and Groq, Mistral and others refuse it with them.
    pub(super) fn wants_thoughts(self, model: &str) -> bool {
        !self.is_openai && contains(model, &["deepseek", "kimi", "glm", "minimax", "mimo"])
    }

    /// Whether the model is switched between thinking and not by `thinking.type`.
    pub(super) fn has_switch(self, model: &str) -> bool {
        !self.is_openai && contains(model, &["deepseek", "kimi", "glm", "mimo"])
    }

    /// Whose signatures the server takes back: a router's, by the model's family.
    pub(super) fn family(self, model: &str) -> Option<Family> {
        let (maker, name) = model.split_once('/').filter(|_| !self.is_openai)?;
        match maker.trim_start_matches('~') {
            "anthropic" => Some(Family::Anthropic),
            "google" if name.starts_with("gemini") => Some(Family::Gemini),
            "openai" if !name.starts_with("gpt-oss") => Some(Family::OpenAi),
            _ => None,
        }
    }

    /// Whether the server takes Gemini's signatures on calls: Google's own, or a router to it.
    pub(super) fn takes_call_signatures(self, model: &str) -> bool {
        !self.is_openai && contains(model, &["gemini"])
    }

    /// Whether the server takes markers of what is to be cached.
    pub(super) fn takes_cache(self, model: &str) -> bool {
        !self.is_openai && contains(model, &["claude", "gemini"])
    }

    /// What `OpenAI`'s models call no thinking, as far as they can do without.
    pub(super) fn no_effort(self, model: &str) -> Option<&'static str> {
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
    pub(super) fn always_thinks(self, model: &str) -> bool {
        ["o1", "o3", "o4"].iter().any(|start| model.starts_with(start))
    }
}

fn contains(model: &str, words: &[&str]) -> bool {
    let model = model.to_ascii_lowercase();
    words.iter().any(|word| model.contains(word))
}
